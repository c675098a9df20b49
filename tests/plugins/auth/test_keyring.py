"""What a request shows, and whose it is."""

import hmac
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell_plugin_auth.digests import digest
from embedwell_plugin_auth.keyring import KeyRing, presented

KEYS = {name: digest(name.encode()) for name in ("first", "second", "third")}


@pytest.mark.parametrize(
    ("headers", "keys"),
    [
        ({}, set()),
        ({b"authorization": b"Bearer k"}, {b"k"}),
        ({b"authorization": b"bEARER   k "}, {b"k"}),
        ({b"authorization": b"Bearer"}, set()),
        ({b"authorization": b"Bearer "}, set()),
        ({b"authorization": b"Basic k"}, set()),
        ({b"authorization": b"k"}, set()),
        ({b"authorization": b"Bearer k, Bearer l"}, {b"k, Bearer l"}),
        ({b"authorization": b"Bearer \xff"}, {b"\xff"}),
        ({b"api-key": b"k"}, {b"k"}),
        ({b"x-api-key": b"k"}, {b"k"}),
        ({b"x-api-key": b"k", b"api-key": b"k", b"authorization": b"Bearer k"}, {b"k"}),
        ({b"api-key": b"k", b"authorization": b"Bearer l"}, {b"k", b"l"}),
        ({b"api-key": b"k", b"authorization": b"Basic l"}, {b"k"}),
        ({b"api-key": b""}, set()),
    ],
)
def test_what_a_request_shows(headers: Mapping[bytes, bytes], keys: set[bytes]) -> None:
    assert presented(headers) == keys


def test_owners() -> None:
    ring = KeyRing(KEYS)
    assert [ring.owner(name.encode()) for name in KEYS] == list(KEYS)
    assert ring.owner(b"fourth") is None
    assert KeyRing({}).owner(b"first") is None


@pytest.mark.parametrize("key", [b"first", b"second", b"third", b"nobody's", b"", b"x" * 8192])
def test_every_key_is_compared_whichever_is_shown(key: bytes) -> None:
    seen: list[bytes] = []

    def compare(kept: bytes, shown: bytes) -> bool:
        seen.append(kept)
        return hmac.compare_digest(kept, shown)

    KeyRing(KEYS, compare).owner(key)
    assert seen == list(KEYS.values())


@given(st.dictionaries(st.sampled_from([b"authorization", b"api-key", b"x-api-key"]), st.binary()))
def test_no_header_whatever_breaks_it(headers: dict[bytes, bytes]) -> None:
    assert all(KeyRing(KEYS).owner(key) is None for key in presented(headers))

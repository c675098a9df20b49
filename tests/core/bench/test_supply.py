"""Requests: what they ask, and that their texts are used once."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from embedwell.bench import supply as supplies
from embedwell.bench.supply import Form, Generated, Listed, Supply, Texts
from embedwell.bench.target import message, target
from embedwell.bench.texts import generated
from embedwell.errors import Invalid

AT = target("http://host:8000/v1/")


def supply(texts: Texts, per_request: int = 1) -> Supply:
    return Supply(Form(AT, "", "m", "base64", per_request), texts)


def asked(request: bytes) -> Any:
    return json.loads(request.partition(b"\r\n\r\n")[2])


def test_a_request_is_what_an_openai_client_sends() -> None:
    request = Form(AT, "secret", "m", "base64", 1).request(["grün"])
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/embeddings HTTP/1.1"
    assert {"Host: host:8000", "Authorization: Bearer secret", f"Content-Length: {len(body)}"} <= {
        *lines
    }
    assert asked(request) == {"model": "m", "input": "grün", "encoding_format": "base64"}
    assert b"Authorization" not in Form(AT, "", "m", "base64", 1).request(["x"])


def test_every_server_gets_the_same_texts_each_once() -> None:
    texts = Generated()
    first, second = supply(texts, 3), supply(texts, 3)
    first.prepare(5)
    sent = [asked(first.take())["input"] for _ in range(8)]
    assert [text for texts in sent for text in texts] == generated(24)
    assert [asked(second.take())["input"] for _ in range(8)] == sent
    assert not first.repeated


def test_a_file_that_is_used_up_is_sent_again_and_that_is_known() -> None:
    one = supply(Listed(["a", "b"], unique=False))
    one.prepare(3)
    assert [asked(one.take())["input"] for _ in range(2)] == ["a", "b"]
    assert not one.repeated
    assert asked(one.take())["input"] == "a"
    assert one.repeated


def test_repeats_are_numbered_on_demand() -> None:
    one = supply(Listed(["a", "b"], unique=True))
    assert [asked(one.take())["input"] for _ in range(5)] == ["a", "b", "2. a", "2. b", "3. a"]
    assert not one.repeated


def test_what_is_prepared_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supplies, "MOST_BYTES", 1_000)
    texts = Counting()
    one = supply(texts)
    one.prepare(1_000)
    assert 0 < texts.taken < 10
    one.prepare(1_000)
    assert texts.taken < 10, "what waits already counts"
    assert [asked(one.take())["input"] for _ in range(20)] == [str(n) for n in range(20)]


class Counting:
    distinct: int | None = None
    taken = 0

    def __iter__(self) -> Iterator[str]:
        for number in count():
            self.taken += 1
            yield str(number)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://h", "h", 80, "/embeddings"),
        ("https://h/a/v1//", "h", 443, "/a/v1/embeddings"),
        ("http://[::1]:8000/v1", "::1", 8000, "/v1/embeddings"),
    ],
)
def test_urls(url: str, host: str, port: int, path: str) -> None:
    made = target(url)
    assert (made.host, made.port, made.secure) == (host, port, url.startswith("https"))
    assert message(made, "POST", "/embeddings", "").split(b" ")[1].decode() == path


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000", "ftp://host", "http://", "http://h:x", "http://h:99999", "http://u:p@h",
        "http://h/?a=b", "http://[::1", "http://h\n/x", "http://hôst", "http://h/a b",
    ],
)  # fmt: skip
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(Invalid, match=r"is not a server's URL: say http://HOST:PORT"):
        target(url)

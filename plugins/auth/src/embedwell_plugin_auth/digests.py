"""Keys as they are kept: by their SHA-256 alone."""

import hashlib
import re
import secrets

DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")
KEY = re.compile(r"[\x21-\x7e]{32,1000}")
FEWEST_LETTERS = 8  # that differ; of 32 random hexadecimal digits all but one in 10^7 have more


def digest(key: bytes) -> bytes:
    """SHA-256, 32 bytes.

    A slow, salted hash protects what people choose and remember: it makes each guess dear. A key
    of 128 random bits and more is never found by guessing, however cheap a guess is, and a slow
    hash at every request would be a way to exhaust the server. So short keys are refused instead.
    """
    return hashlib.sha256(key).digest()


def written(key: str) -> str:
    """The digest of a key as the configuration has it."""
    return f"sha256:{digest(key.encode()).hex()}"


def read(text: str) -> bytes:
    """The digest of a key, or that which `text` already is; raises ValueError for a weak key."""
    if match := DIGEST.fullmatch(text):
        return bytes.fromhex(match[1])
    if not KEY.fullmatch(text) or len(set(text)) < FEWEST_LETTERS:
        raise ValueError(
            "not a key that is hard to guess: take 32 to 1,000 visible ASCII characters made at "
            "random, as `python -m embedwell_plugin_auth new NAME` does"
        )
    return digest(text.encode())


def new_key() -> str:
    """256 random bits."""
    return f"ew-{secrets.token_urlsafe(32)}"

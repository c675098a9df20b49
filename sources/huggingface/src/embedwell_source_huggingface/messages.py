"""What the server's process and the child that talks to the Hub say to each other: JSON lines."""

from typing import Literal

from msgspec import Struct

Why = Literal[
    "gated", "unauthorized", "disabled", "refused", "unreachable", "full", "corrupt", "bug"
]


class Ask(Struct, frozen=True, tag=True):
    """Which commit and files are behind a revision? `timeout` is in seconds."""

    repo: str
    revision: str
    endpoint: str | None
    token: str | None
    timeout: float


class Get(Struct, frozen=True, tag=True):
    """Bring these files of a commit to the cache."""

    repo: str
    commit: str
    files: tuple[str, ...]
    endpoint: str | None
    token: str | None
    cache: str


class Listing(Struct, frozen=True, tag=True):
    """The answer to Ask: `files` are names and bytes."""

    commit: str
    files: tuple[tuple[str, int], ...]


class Absent(Struct, frozen=True, tag=True):
    """The Hub has no such repository or revision, or does not say so to this token."""


class Moved(Struct, frozen=True, tag=True):
    """Bytes that have arrived so far."""

    done: int


class Done(Struct, frozen=True, tag=True):
    """Everything that Get asked for is in place."""


class Failed(Struct, frozen=True, tag=True):
    """It cannot be done; `status` is the Hub's, where it answered."""

    why: Why
    status: int = 0


Request = Ask | Get
Message = Listing | Absent | Moved | Done | Failed

"""Requests with texts that a server has not had yet, made ready before the clock starts."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Protocol

import msgspec
from msgspec import Struct

from embedwell.bench.target import Target, message
from embedwell.bench.texts import endless

MOST_BYTES = 256_000_000  # of requests that wait; later ones are made when they are sent


class Texts(Protocol):
    """An endless order of texts, the same each time; `distinct` come before the first repeat."""

    distinct: int | None  # None: there is none

    def __iter__(self) -> Iterator[str]:
        """From the first."""


class Generated:
    """As many as are needed, all distinct."""

    distinct: int | None = None

    def __iter__(self) -> Iterator[str]:
        return endless()


class Listed:
    """Those of a file, again from the first when they are used up; `unique` numbers the repeats."""

    def __init__(self, texts: Sequence[str], unique: bool) -> None:
        self.distinct = None if unique else len(texts)
        self._texts, self._unique = texts, unique

    def __iter__(self) -> Iterator[str]:
        yield from self._texts
        for turn in count(2):
            mark = f"{turn}. " if self._unique else ""
            yield from (mark + text for text in self._texts)


class Form(Struct, frozen=True):
    """What all requests to one server have in common."""

    target: Target
    key: str
    model: str
    encoding: str
    per_request: int

    def request(self, texts: Sequence[str]) -> bytes:
        """The bytes that ask for these; one text goes as a string, as most clients send it."""
        given = texts[0] if self.per_request == 1 else texts
        body = {"model": self.model, "input": given, "encoding_format": self.encoding}
        return message(self.target, "POST", "/embeddings", self.key, msgspec.json.encode(body))


class Supply:
    """The requests of one server, in order, each once; not thread-safe."""

    def __init__(self, form: Form, texts: Texts) -> None:
        self.form = form
        self._distinct = texts.distinct
        self._texts = iter(texts)
        self._sent = 0
        self._ready: deque[bytes] = deque()

    def prepare(self, count: int) -> None:
        """Has `count` requests ready, or as many as 256 MB hold."""
        room = MOST_BYTES - sum(map(len, self._ready))
        while len(self._ready) < count and room > 0:
            self._ready.append(self._next())
            room -= len(self._ready[-1])

    def take(self) -> bytes:
        """The next request, made now if none is ready."""
        self._sent += self.form.per_request
        return self._ready.popleft() if self._ready else self._next()

    @property
    def repeated(self) -> bool:
        """Whether a text was taken for the second time."""
        return self._distinct is not None and self._sent > self._distinct

    def _next(self) -> bytes:
        return self.form.request(list(islice(self._texts, self.form.per_request)))

"""One answer of HTTP/1.1 out of bytes as they arrive; no more of it is read than its end needs."""

import re

LONGEST_HEAD = 65_536  # bytes
LONGEST = 512_000_000  # bytes of an answer
MOST_PAUSE = 5.0  # seconds that Retry-After is heeded for
PAUSE = 0.5  # seconds, where it says nothing
END = b"\r\n\r\n"
STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)[ \r]")
LENGTH = re.compile(rb"\d{1,12}")
CHUNK = re.compile(rb"[0-9a-fA-F]{1,8}(?=[ \t;\r])")


class Garbled(Exception):
    """Bytes that are no answer of HTTP/1.1; says why."""


class Answer:
    """`status` is 0 until the head is whole, `body` is empty until all is."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.closes = False
        self._head = b""
        self._seen = bytearray()
        self._at = 0
        self._length: int | None = None
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> bool:
        """Whether the answer is whole with these bytes; raises Garbled."""
        self._seen += data
        if not self.status and not self._begin():
            return False
        if len(self._seen) > LONGEST:
            raise Garbled("an answer of more than 512 MB")
        return self._measured() if self._length is not None else self._chunked()

    @property
    def pause(self) -> float:
        """The seconds that Retry-After asks for, at most five."""
        try:
            return min(max(int(self._field(b"retry-after")), 0), MOST_PAUSE)
        except ValueError:  # none, or a date
            return PAUSE

    def _begin(self) -> bool:
        end = self._seen.find(END)
        if end < 0:
            if len(self._seen) > LONGEST_HEAD or not b"HTTP/1.".startswith(self._seen[:7]):
                raise Garbled("no HTTP/1.1")
            return False
        line = STATUS.match(self._seen)
        if line is None:
            raise Garbled("no HTTP/1.1")
        self._head = bytes(self._seen[: end + 2]).lower()
        self._at = end + len(END)
        self.status = int(line[2])
        self._frame(line[1] == b"0")
        return True

    def _frame(self, old: bool) -> None:
        connection = self._field(b"connection")
        self.closes = connection == b"close" or (old and connection != b"keep-alive")
        if self._field(b"transfer-encoding").endswith(b"chunked"):
            return
        length = self._field(b"content-length")
        if not LENGTH.fullmatch(length):
            raise Garbled("neither Content-Length nor chunks")
        self._length = int(length)

    def _field(self, name: bytes) -> bytes:
        at = self._head.find(b"\r\n" + name + b":")
        if at < 0:
            return b""
        at += len(name) + 3
        return self._head[at : self._head.index(b"\r\n", at)].strip()

    def _measured(self) -> bool:
        missing = self._at + (self._length or 0) - len(self._seen)
        if missing < 0:
            raise Garbled("more bytes than Content-Length said")
        if missing == 0:
            self.body = bytes(self._seen[self._at :])
        return missing == 0

    def _chunked(self) -> bool:
        while (end := self._seen.find(b"\r\n", self._at)) >= 0:
            size = CHUNK.match(self._seen, self._at)
            if size is None:
                raise Garbled("a chunk without a size")
            if not int(size[0], 16):
                return self._last(end)
            start, stop = end + 2, end + 2 + int(size[0], 16)
            if len(self._seen) < stop + 2:
                return False
            self._chunks.append(bytes(self._seen[start:stop]))
            self._at = stop + 2
        return False

    def _last(self, end: int) -> bool:
        whole = self._seen.find(END, end) >= 0  # trailers, if there are any, are skipped
        if whole:
            self.body = b"".join(self._chunks)
        return whole

"""Answers of HTTP/1.1, however their bytes arrive."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedwell.bench.framing import MOST_PAUSE, PAUSE, Answer, Garbled

SIZED = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: 11\r\n\r\nhello world"
CHUNKED = (
    b"HTTP/1.1 503 \r\ntransfer-encoding: gzip, Chunked\r\nConnection: Close\r\n\r\n"
    b"6\r\nhello \r\n005;x=y\r\nworld\r\n0\r\nTrailer: 1\r\n\r\n"
)


def fed(*pieces: bytes) -> Answer:
    answer = Answer()
    assert [answer.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    return answer


@given(st.sampled_from([SIZED, CHUNKED]), st.sets(st.integers(1, 150)))
def test_any_split_gives_the_same_answer(content: bytes, cuts: set[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(content)), len(content)]
    pieces = [content[a:b] for a, b in pairwise(places)]
    answer = fed(*pieces)
    assert answer.body == b"hello world"
    assert (answer.status, answer.closes) == ((200, False) if content == SIZED else (503, True))


def test_an_empty_body_is_whole_with_its_head() -> None:
    assert fed(b"HTTP/1.1 429 X\r\ncontent-length:0\r\n\r\n").body == b""


@pytest.mark.parametrize(
    ("line", "field", "closes"),
    [("1.0", "x: y", True), ("1.0", "Connection: keep-alive", False), ("1.1", "x: y", False)],
)
def test_whether_the_connection_is_kept(line: str, field: str, closes: bool) -> None:
    head = f"HTTP/{line} 200 OK\r\n{field}\r\nContent-Length: 0\r\n\r\n"
    assert fed(head.encode()).closes is closes


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>", "no HTTP/1.1"),
        (b"HTTP/2 200 OK\r\n\r\n", "no HTTP/1.1"),
        (b"HTTP/1.1 999 OK\r\n\r\n", "no HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000, "no HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n", "neither Content-Length nor chunks"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "neither Content-Length nor chunks"),
        (SIZED + b"!", "more bytes than Content-Length said"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "a chunk without a size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n", "a chunk without a size"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_said(content: bytes, reason: str) -> None:
    with pytest.raises(Garbled, match=reason):
        Answer().feed(content)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("Retry-After: 2", 2), ("retry-after: 600", MOST_PAUSE), ("Retry-After: -3", 0),
        ("Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", PAUSE), ("x: y", PAUSE),
    ],
)  # fmt: skip
def test_how_long_a_server_asks_to_wait(field: str, seconds: float) -> None:
    head = f"HTTP/1.1 429 X\r\n{field}\r\nContent-Length: 0\r\n\r\n"
    assert fed(head.encode()).pause == seconds

"""T25 to T28: requests that two readers could read differently, heads too large, methods nobody has."""

import json

import pytest

from tests.faults import envelope
from tests.faults.rawhttp import Answer, ask, exchange
from tests.faults.target import Target

START = "POST /embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GOOD = json.dumps({"model": "tiny", "input": "w1"})
BEHIND = "GET /info HTTP/1.1\r\nHost: localhost\r\n\r\n"  # never to be run
CHUNKED = "Transfer-Encoding: chunked\r\n"


def only_answer(target: Target, text: str) -> Answer:
    """To bytes with a request behind: if that were run, there would be two, or no end."""
    (answer,) = exchange(target.port, [(text + BEHIND).encode("latin-1")])
    return answer


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nothing", "NOT_FOUND"),
        ("GET", "/", "NOT_FOUND"),
        ("GET", "//models", "NOT_FOUND"),
        ("POST", "/v2/embeddings", "NOT_FOUND"),
        ("GET", "/embeddings", "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/embeddings", "METHOD_NOT_ALLOWED"),
        ("BREW", "/embeddings", "METHOD_NOT_ALLOWED"),
        ("TRACE", "/embeddings", "METHOD_NOT_ALLOWED"),
        ("TRACE", "/nothing", "NOT_FOUND"),
        ("CONNECT", "localhost:80", "NOT_FOUND"),
        ("OPTIONS", "*", "NOT_FOUND"),
        ("GET", "*", "NOT_FOUND"),
    ],
)
def test_t25_routes_and_methods_that_are_none(
    target: Target, method: str, path: str, code: str
) -> None:
    answer = ask(target.port, method, path)
    envelope.check(answer, code)
    assert ("allow" in answer.headers) == (code == "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: identity\r\n\r\n",
        "Transfer-Encoding:\r\n\r\n",
    ],
)
def test_t26_two_ways_to_find_the_end_of_a_body(target: Target, framing: str) -> None:
    envelope.check(only_answer(target, START + framing), "BAD_REQUEST")


@pytest.mark.parametrize("version", ["1.0", "1.2", "2.0", "3.0", "9.9"])
def test_t26_in_a_version_that_is_not_spoken_here(target: Target, version: str) -> None:
    start = START.replace("HTTP/1.1", f"HTTP/{version}")
    framing = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    envelope.check(only_answer(target, start + framing), "BAD_REQUEST")


@pytest.mark.parametrize(
    "rest",
    [
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "Content-Length: 2, 3\r\n\r\n{}",
        "Content-Length: +2\r\n\r\n{}",
        "Content-Length: -1\r\n\r\n{}",
        "Content-Length: 0x2\r\n\r\n{}",
        "Content-Length: 2 2\r\n\r\n{}",
        "Content-Length:\r\n\r\n{}",
        "Content-Length: " + "9" * 30 + "\r\n\r\n{}",
        "Content-Length : 2\r\n\r\n{}",
        "Content-Length\r\n\r\n{}",
        ": 2\r\n\r\n{}",
        "X: a\0b\r\n\r\n",
        "X: a\rb\r\n\r\n",
        CHUNKED + "\r\nzz\r\n{}\r\n0\r\n\r\n",
        CHUNKED + "\r\n-2\r\n{}\r\n0\r\n\r\n",
        CHUNKED + "\r\n0x2\r\n{}\r\n0\r\n\r\n",
        CHUNKED + "\r\n2\r\n{}XX0\r\n\r\n",
        CHUNKED + "\r\n2\r\n{}XX\r\n0\r\n\r\n",
        CHUNKED + "\r\n" + "f" * 30 + "\r\n{}",
        CHUNKED + "\r\n2;" + "x" * 200_000 + "\r\n{}\r\n0\r\n\r\n",
        CHUNKED + "\r\n2\r\n{}\r\n0\r\nTrailer : x\r\n\r\n",
    ],
    ids=lambda rest: ascii(rest)[:60],
)
def test_t27_lengths_and_chunks_that_are_none(target: Target, rest: str) -> None:
    envelope.check(only_answer(target, START + rest), {"BAD_REQUEST", "PAYLOAD_TOO_LARGE"})


@pytest.mark.parametrize(
    "start",
    [
        "POST /embeddings\r\nHost: localhost\r\n\r\n",
        "POST  /embeddings HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /embeddings HTTP/1.1 x\r\nHost: localhost\r\n\r\n",
        "POST /emb eddings HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /embeddings\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /embeddings\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /embeddings HTTP/1.1\r\n\r\n",
        "POST /embeddings HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "PO\x7fST /embeddings HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
    ],
    ids=ascii,
)
def test_t27_heads_that_are_none(target: Target, start: str) -> None:
    envelope.check(only_answer(target, start), "BAD_REQUEST")


def test_t27_the_same_length_twice_is_one_length(target: Target) -> None:
    length = f"Content-Length: {len(GOOD)}\r\n"
    close = "Connection: close\r\n"
    (answer,) = exchange(target.port, [(START + length * 2 + close + "\r\n" + GOOD).encode()])
    assert answer.status == 200


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/health", [("X-Long", "a" * 20_000)], 200),  # within the limit, in how many pieces ever
        ("/health", [("X-Long", "a" * 60_000)], 431),
        ("/health", [("X-Long", "a" * 1_000_000)], 431),
        ("/health", [(f"X-{i}", "a") for i in range(2_000)], 431),
        ("/health", [("X-Same", "a")] * 2_000, 431),
        ("/" + "a" * 20_000, [], 414),
        ("/health?" + "a" * 20_000, [], 414),
        ("/" + "a" * 1_000_000, [], 431),  # more than is kept of a head
    ],
    ids=["20 KB", "60 KB", "1 MB", "2,000 names", "2,000 times one", "path", "query", "1 MB path"],
)
def test_t28_heads_that_are_too_large(
    target: Target, path: str, headers: list[tuple[str, str]], status: int
) -> None:
    for pause in (False, True):
        answer = _in_pieces(target, path, headers) if pause else ask(target.port, "GET", path, None, headers)
        assert answer.status == status
        if status != 200:
            envelope.check(answer, "PAYLOAD_TOO_LARGE")


def _in_pieces(target: Target, path: str, headers: list[tuple[str, str]]) -> Answer:
    """As it comes over a network: a few bytes at a time."""
    from tests.faults.rawhttp import CLOSE, head

    whole = head("GET", path, (*headers, *CLOSE))
    (answer,) = exchange(target.port, [whole[i : i + 1400] for i in range(0, len(whole), 1400)])
    return answer

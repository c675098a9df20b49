"""T08 to T11, T17, T31: bodies that are too long, too many pieces, or never end; others go on."""

import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.faults import envelope
from tests.faults.rawhttp import CLOSE, JSON, Headers, ask, exchange, head
from tests.faults.target import BODY_TIMEOUT, MAX_BODY, Target

PATHS = pytest.mark.parametrize("path", ["/embeddings", "/v1/embeddings"])
CHUNKED = ("Transfer-Encoding", "chunked")
BOUND = 64_000_000  # bytes: the largest legal body, what holds it twice, and a margin
SLOW = 5.0  # seconds: whoever waits so long for /health waited for somebody else
GOOD = json.dumps({"model": "tiny", "input": "w1"}).encode()
PIECE = b"10000\r\n" + b" " * 0x10000 + b"\r\n"


def start(path: str, *headers: tuple[str, str]) -> bytes:
    return head("POST", path, (*JSON, *headers, *CLOSE))


@contextmanager
def others(target: Target) -> Iterator[list[float]]:
    """Somebody else who asks for /health all the time; afterwards, how long each answer took."""
    took: list[float] = []
    done = threading.Event()

    def ask_on() -> None:
        while not done.is_set():
            began = time.perf_counter()
            assert target.get("/health").status == 200
            took.append(time.perf_counter() - began)
            done.wait(0.005)

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        yield took
    finally:
        done.set()
        asking.join()
    p99 = statistics.quantiles(took, n=100)[-1] if len(took) > 1 else took[0]
    print(f"/health meanwhile: {len(took)} answers, p99 {p99 * 1e3:.1f} ms, most {max(took) * 1e3:.1f}")
    assert max(took) < SLOW


@contextmanager
def little_memory(target: Target) -> Iterator[None]:
    """The resident memory's peak stays within BOUND of what it is now."""
    process = Path(f"/proc/{target.pid}")
    (process / "clear_refs").write_text("5")
    before = _bytes(process, "VmRSS")
    yield
    grown = _bytes(process, "VmHWM") - before
    print(f"the peak of resident memory grew by {grown / 1e6:.1f} MB")
    assert grown < BOUND


def _bytes(process: Path, field: str) -> int:
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


@PATHS
@pytest.mark.parametrize("length", [MAX_BODY + 1, 10_000_000_000, 10**17])
def test_t08_a_length_that_is_too_large_is_refused_at_once(
    target: Target, path: str, length: int
) -> None:
    request = start(path, ("Content-Length", str(length))) + b"{"
    (answer,) = exchange(target.port, [request])
    envelope.check(answer, "PAYLOAD_TOO_LARGE", path)


@PATHS
def test_t09_chunks_that_are_too_much_together(target: Target, path: str) -> None:
    pieces = [start(path, CHUNKED), *[PIECE] * 3_000, b"0\r\n\r\n"]  # 200 MB
    with little_memory(target):
        (answer,) = exchange(target.port, pieces)
    envelope.check(answer, "PAYLOAD_TOO_LARGE", path)


def test_t10_many_chunks_of_one_byte(target: Target) -> None:
    text = "w1 " + "x" * (200_000 - len(GOOD) - 3)
    body = json.dumps({"model": "tiny", "input": text}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    began = time.perf_counter()
    with others(target):
        (answer,) = exchange(target.port, [start("/embeddings", CHUNKED) + chunks])
    print(f"{len(body):,} chunks: {answer.status} after {time.perf_counter() - began:.2f} s")
    if answer.status != 200:
        envelope.check(answer, {"BAD_REQUEST", "PAYLOAD_TOO_LARGE", "TIMEOUT"})


def form(*parts: tuple[str, bytes]) -> tuple[bytes, Headers]:
    """A multipart body; `parts` are the headers' rest after `form-data; `, and contents."""
    lines = [
        b"--b\r\nContent-Disposition: form-data; " + rest.encode() + b"\r\n\r\n" + content + b"\r\n"
        for rest, content in parts
    ]
    return b"".join(lines) + b"--b--\r\n", [("Content-Type", "multipart/form-data; boundary=b")]


@pytest.mark.parametrize(
    "parts",
    [
        [('name="model"', b"m"), *[('name="file"; filename="config.json"', b"{}")] * 1_500],
        [('name="model"', b"m"), *[(f'name="file"; filename="{i}.json"', b"{}") for i in range(1_500)]],
        [('name="model"', b"m"), *[('name="more"', b"")] * 1_500],
        [('name="model"', b"m" * 1_000_000)],
        [(f'name="{"m" * 1_000_000}"', b"m")],
        [('name="model"\r\nX: ' + "a" * 1_000_000, b"m")],
        [('name="model"\r\n' + "\r\n".join(f"X{i}: a" for i in range(10_000)), b"m")],
    ],
    ids=["one file 1,500 times", "1,500 files", "1,500 fields", "1 MB field", "1 MB name", "1 MB header",
         "10,000 headers"],
)  # fmt: skip
def test_t11_forms_of_too_much(target: Target, parts: list[tuple[str, bytes]]) -> None:
    body, headers = form(*parts)
    with little_memory(target):
        answer = ask(target.port, "POST", "/models/upload", body, headers)
    told = {"BAD_REQUEST", "PAYLOAD_TOO_LARGE", "VALIDATION_ERROR", "INVALID_MODEL"}
    envelope.check(answer, told)


@PATHS
def test_t17_one_text_of_eight_megabytes(target: Target, path: str) -> None:
    text = "w1 w2 " * 1_333_333
    began = time.perf_counter()
    with others(target):
        answer = target.post(path, {"model": "tiny", "input": text})
    print(f"8 MB of text: {time.perf_counter() - began:.2f} s")
    assert (answer.status, answer.headers["x-embedwell-truncated"]) == (200, "0")
    (row,) = answer.json["data"]
    assert np.abs(target.vectors("w1 w2 " * 100)[0] - row["embedding"]).max() <= 1e-5


def test_t31_a_body_that_stalls_is_told_and_its_connection_closed(target: Target) -> None:
    answers = {}

    def stall(path: str, *headers: tuple[str, str]) -> None:
        answers[path, headers] = exchange(target.port, [start(path, *headers) + b"1\r\n{\r\n"])

    began = time.perf_counter()
    stalling = [
        threading.Thread(target=stall, args=(path, framing))
        for path in ("/embeddings", "/v1/embeddings", "/embeddings/preload")
        for framing in (("Content-Length", "100"), CHUNKED)
    ]
    for thread in stalling:
        thread.start()
    for thread in stalling:
        thread.join()
    print(f"told after {time.perf_counter() - began:.2f} s, the limit is {BODY_TIMEOUT:g}")
    assert len(answers) == len(stalling)
    for (path, _), (answer,) in answers.items():
        assert answer.status == 408
        envelope.check(answer, "TIMEOUT", path)

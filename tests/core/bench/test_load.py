"""Load on a server that errs: every way to fail is counted by its name."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from embedwell.bench import probe
from embedwell.bench.errors import Unmeasurable
from embedwell.bench.load import load
from embedwell.bench.supply import Form, Generated, Supply
from embedwell.bench.target import target
from embedwell.bench.window import Seen, Window
from tests.core.bench.loopback import Behaviour, Reply, answer, embeddings, refusal, right, serving


async def seen_of(behaviour: Behaviour, connections: int = 3, patience: float = 5.0) -> Seen:
    async with serving(behaviour) as server:
        return await seen_at(server.url, connections, patience)


async def seen_at(url: str, connections: int = 3, patience: float = 5.0) -> Seen:
    form = Form(target(url), "", "tiny", "base64", 1)
    window = Window(Supply(form, Generated()).take, connections, 0.2, 10)
    return await load(form.target, window, connections, patience)


def every_third(reply: Reply) -> Behaviour:
    turn = iter(range(1_000_000))
    return lambda path, body: right(path, body) if next(turn) % 3 else reply


def chunked(path: str, body: dict[str, Any]) -> Reply:
    content = embeddings(body)
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    return Reply(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content))


def closing(path: str, body: dict[str, Any]) -> Reply:
    return Reply(answer(200, embeddings(body), "connection: close"), "close")


@pytest.mark.parametrize("behaviour", [right, chunked, closing])
async def test_right_answers_however_they_are_framed(behaviour: Behaviour) -> None:
    seen = await seen_of(behaviour)
    assert len(seen.begun) > 10
    assert set(seen.tokens) == {7}
    assert not seen.failures
    assert seen.samples[0] == embeddings(
        {"input": "", "model": "tiny", "encoding_format": "base64"}
    )
    assert all(begun < ended for begun, ended in zip(seen.begun, seen.ended, strict=True))
    assert all(ended >= seen.opened for ended in seen.ended)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal(500, "out of order"), "status 500"),
        (Reply(b"<html>"), "garbled answer: no HTTP/1.1"),
        (Reply(b"HTTP/1.1 200 OK\r\n\r\n"), "garbled answer: neither Content-Length nor chunks"),
        (Reply(b"", "close"), "connection closed before the answer"),
        (Reply(answer(200, b"x")[:-1], "close"), "connection closed before the answer"),
        (Reply(b"", "reset"), "connection reset"),
    ],
)  # fmt: skip
async def test_failures_are_counted_beside_the_answers(reply: Reply, kind: str) -> None:
    seen = await seen_of(every_third(reply))
    assert set(seen.failures) == {kind}
    assert len(seen.begun) > 0
    assert seen.examples[kind] == ("out of order" if kind == "status 500" else "")


async def test_silence_is_a_timeout() -> None:
    seen = await seen_of(lambda path, body: Reply(b""), patience=0.1)
    assert set(seen.failures) == {"timeout"}
    assert not len(seen.begun)


async def test_too_many_requests_are_counted_apart_and_waited_for() -> None:
    seen = await seen_of(lambda path, body: refusal(429, "later", "retry-after: 60"))
    assert not seen.failures
    assert seen.limited == 0, "each connection was refused once, which opened the window, and waits"


async def test_a_refused_connection_has_a_name() -> None:
    async with serving() as server:
        url = server.url
    seen = await seen_at(url)
    assert set(seen.failures) == {"no connection: Connection refused"}


async def test_each_connection_has_one_request_in_flight() -> None:
    async with serving(right) as server:
        await seen_at(server.url, connections=5)
        assert len(server.connections) == 5
        texts = [body["input"] for body in server.bodies]
        assert len(set(texts)) == len(texts)


async def test_a_load_that_is_cancelled_leaves_no_connection() -> None:
    reached = asyncio.Event()

    def silent(path: str, body: dict[str, Any]) -> Reply:
        reached.set()
        return Reply(b"")

    async with serving(silent) as server:
        running = asyncio.create_task(seen_at(server.url, patience=3_600.0))
        await reached.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.gather(*server.lost)


@pytest.mark.system
@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
async def test_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=x",
    ]
    words += [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with serving(right, secure=context) as server:
        to = target(server.url)
        with pytest.raises(Unmeasurable, match=r"is not trusted .*: SSL_CERT_FILE names a CA"):
            await probe.first_model(to, "", 5.0)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert await probe.first_model(to, "", 5.0) == "tiny"
        assert len((await seen_at(server.url)).begun) > 0

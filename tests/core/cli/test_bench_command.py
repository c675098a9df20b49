"""`embedwell bench` as a person or a script uses it, against servers on the loopback."""

import asyncio
import io
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import msgspec
import pytest

from embedwell.bench.results import Figures, Latency, Report
from embedwell.bench.sweep import Step
from embedwell.cli.bench_options import MOST_SERVERS
from embedwell.cli.bench_progress import BenchProgress
from embedwell.cli.progress import WIDTH
from embedwell.config.schema import Config, Server, Sources
from embedwell.testing import FakeBackend, make_model_folder
from embedwell.testing.server import running_server
from tests.core.bench.loopback import Behaviour, Reply, answer, refusal, right, serving

QUICK = ("--seconds", "0.1", "--warmup", "0.1", "--connections", "1,2")


class Done(msgspec.Struct):
    code: int
    out: str
    errors: str


async def begun(folder: Path, *words: str, **environment: str) -> Process:
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith("EMBEDWELL_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "embedwell", "bench", *words,
        cwd=folder, env=surroundings | environment, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip


async def ended(process: Process) -> Done:
    out, errors = await process.communicate()
    return Done(process.returncode or 0, out.decode(), errors.decode())


async def bench(folder: Path, *words: str, **environment: str) -> Done:
    return await ended(await begun(folder, *words, **environment))


def listing(reply: Reply) -> Behaviour:
    return lambda path, body: reply if path.endswith("/models") else right(path, body)


def embedding(reply: Reply) -> Behaviour:
    return lambda path, body: right(path, body) if path.endswith("/models") else reply


async def test_a_table_and_every_figure_as_json(tmp_path: Path) -> None:
    async with serving() as one, serving() as two:
        words = (f"{one.url}/v1/", two.url, "--rounds", "2", "--json", "found.json")
        done = await bench(tmp_path, *words, *QUICK, "--api-key", "hidden-key")
        assert b"POST /v1/embeddings " in one.heads[-1]
        assert b"Authorization: Bearer hidden-key" in two.heads[-1]
    assert done.code == 0, done.errors
    lines = [line.split() for line in done.out.splitlines()]
    assert ["A", f"{one.url}/v1", "tiny", "4", "dimensions,", "base64"] in lines
    assert [line[:2] for line in lines if line[:1] in (["A"], ["B"])][2:] == [
        ["A", "1"], ["B", "1"], ["A", "2"], ["B", "2"],
    ]  # fmt: skip
    assert "asking" in done.errors
    assert f"8 of 8  {two.url}  2 connections: " in done.errors
    report = msgspec.json.decode((tmp_path / "found.json").read_bytes(), type=Report)
    assert (report.format, report.interrupted) == (1, False)
    assert [server.url for server in report.servers] == [f"{one.url}/v1", two.url]
    assert "hidden-key" not in (tmp_path / "found.json").read_text()
    assert report.command[:2] == ("bench", f"{one.url}/v1/")
    assert report.machine.cores > 0


async def test_json_alone_on_stdout(tmp_path: Path) -> None:
    async with serving() as server:
        done = await bench(tmp_path, server.url, "--json", "-", *QUICK)
    report = msgspec.json.decode(done.out, type=Report)
    assert report.servers[0].levels[1].figures.requests > 0
    assert "CONNECTIONS" in done.errors


async def test_models_by_name_texts_of_a_file_and_a_key_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "given.txt").write_text("one\ntwo\n")
    words = (
        "--model",
        "b",
        "--model",
        "c",
        "--texts",
        "given.txt",
        "--unique",
        "--per-request",
        "3",
    )
    async with serving() as one, serving() as two:
        done = await bench(
            tmp_path, one.url, two.url, *words, *QUICK, "--encoding", "float", EMBEDWELL_API_KEY="k"
        )
        assert {body["model"] for body in one.bodies} == {"b"}
        assert {body["model"] for body in two.bodies} == {"c"}
        assert one.bodies[1]["input"] == ["one", "two", "2. one"]
        assert one.bodies[1]["encoding_format"] == "float"
        assert b"Authorization: Bearer k" in one.heads[0]
    assert done.code == 0, done.errors
    assert "4 dimensions, float" in done.out


async def test_the_real_server(tmp_path: Path) -> None:
    make_model_folder(tmp_path / "runs" / "tiny")
    tables = {"training": {"directory": str(tmp_path / "runs"), "settle_seconds": 0}}
    config = Config(server=Server(data_dir=str(tmp_path / "data")), sources=Sources(tables=tables))
    async with running_server(config, backend=FakeBackend()) as server:
        done = await bench(tmp_path, f"{server.url}/v1", *QUICK, "--json", "found.json")
    assert done.code == 0, done.errors
    report = msgspec.json.decode((tmp_path / "found.json").read_bytes(), type=Report)
    assert (report.servers[0].model, report.servers[0].encoding) == ("tiny", "base64")
    for level in report.servers[0].levels:
        assert level.figures.errors == 0
        assert level.figures.checked > 0
        assert level.figures.tokens_per_second


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (listing(refusal(401, "no key")), "/models: status 401: no key; give a key with --api-key, or in EMBEDWELL_API_KEY\n"),
        (embedding(refusal(403, "no")), ", model tiny: status 403: no; give a key with --api-key, or in EMBEDWELL_API_KEY\n"),
        (listing(Reply(answer(404, b"<html>no"))), "/models: status 404; name one with --model, or check the URL\n"),
        (embedding(Reply(answer(502, b"<html>no"))), ", model tiny: status 502\n"),
        (listing(refusal(404, "no")), "/models: status 404: no; name one with --model, or check the URL"),
        (listing(Reply(answer(200, b"<html>"))), "/models answers no list of models: name one with --model"),
        (listing(Reply(answer(200, b'{"data": []}'))), "lists no model: name one with --model"),
        (embedding(refusal(404, "Model not found: x\x1b")), ", model tiny: status 404: Model not found: x "),
        (embedding(Reply(answer(200, b"{}"))), ", model tiny: the answer is wrong: not the JSON of embeddings"),
        (embedding(Reply(b"SSH-2.0\r\n")), "cannot be asked: garbled answer: no HTTP/1.1; is the server"),
        (embedding(Reply(b"")), "cannot be asked: timeout after 1 s; is the server running there?"),
    ],
)  # fmt: skip
async def test_a_server_that_cannot_be_measured(
    tmp_path: Path, behaviour: Behaviour, reason: str
) -> None:
    async with serving(behaviour) as server:
        done = await bench(tmp_path, server.url, "--timeout", "1", *QUICK)
    assert done.code == 70
    assert f"embedwell bench failed:\n  {server.url}" in done.errors
    assert reason in done.errors
    assert done.out == ""


async def test_nobody_there(tmp_path: Path) -> None:
    async with serving() as server:
        url = server.url
    done = await bench(tmp_path, url, "--model", "m")
    assert done.code == 70
    assert f"{url} cannot be asked: no connection: Connection refused; is the server" in done.errors


async def test_a_server_that_breaks_down_is_shown_and_fails_the_command(tmp_path: Path) -> None:
    turn = iter(range(1_000_000))

    def breaking(path: str, body: dict[str, Any]) -> Reply:
        return right(path, body) if next(turn) < 2 else refusal(503, "out of order")

    async with serving(breaking) as server:
        done = await bench(tmp_path, server.url, *QUICK)
    assert done.code == 70
    assert "× status 503: out of order" in done.out
    assert f"Without one right answer at some level:\n  {server.url}" in done.errors


async def test_ctrl_c_shows_what_was_measured(tmp_path: Path) -> None:
    async with serving() as server:
        words = ("--seconds", "0.1", "--warmup", "0.1", "--rounds", "100", "--json", "found.json")
        process = await begun(tmp_path, server.url, *words)
        assert process.stderr is not None
        while b"2 of 400" not in await process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        done = await ended(process)
    assert done.code == 130
    assert "Traceback" not in done.errors
    assert "CONNECTIONS" in done.out
    report = msgspec.json.decode((tmp_path / "found.json").read_bytes(), type=Report)
    assert report.interrupted
    assert len(report.servers[0].levels[0].rounds) >= 2


async def test_ctrl_c_before_anything_was_measured(tmp_path: Path) -> None:
    asked = asyncio.Event()

    def silent(path: str, body: dict[str, Any]) -> Reply:
        asked.set()
        return Reply(b"")

    async with serving(silent) as server:
        process = await begun(tmp_path, server.url)
        await asked.wait()
        process.send_signal(signal.SIGINT)
        done = await ended(process)
    assert (done.code, done.out) == (130, "")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "the following arguments are required: URL"),
        (("localhost:8000",), "'localhost:8000' is not a server's URL: say http://HOST:PORT"),
        (("http://h",) * (MOST_SERVERS + 1), "at most 16 URLs"),
        (("http://h", "--model", "a", "--model", "b"), "give --model once, or once for each URL"),
        (("http://h", "--model", ""), "say a model's name"),
        (("http://h", "--api-key", "a b"), "the key has characters that no key may have"),
        (("http://h", "--concurrency", "0"), "'0': say a number from 1 to 1024"),
        (("http://h", "--concurrency", "1,1"), "say at most 16 levels, each once"),
        (("http://h", "--seconds", "nan"), "'nan': say a number from 0.1 to 3600"),
        (("http://h", "--per-request", "2049"), "'2049': say a number from 1 to 2048"),
        (("http://h", "--encoding", "hex"), "invalid choice: 'hex'"),
        (("http://h", "--unique"), "--unique is for --texts: generated texts are distinct"),
        (("http://h", "--json", "no/such/file"), "--json: no/such/file: no file can be written there"),
        (("http://h", "--json", "."), "--json: .: no file can be written there"),
    ],
)  # fmt: skip
async def test_a_command_line_that_is_wrong(
    tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    done = await bench(tmp_path, *words)
    assert done.code == 2
    assert reason in done.errors


async def test_what_the_command_line_names_must_be_of_use(tmp_path: Path) -> None:
    done = await bench(tmp_path, "http://h", "--texts", "missing.txt")
    assert done.code == 70
    assert "missing.txt cannot be read: No such file or directory" in done.errors
    done = await bench(tmp_path, "http://h", EMBEDWELL_API_KEY="a\nb")
    assert done.code == 70
    assert "EMBEDWELL_API_KEY has characters that no key may have" in done.errors


FOUND = Figures(1.0, 9, 9.0, 9.0, None, Latency(5.0, 6.0, 7.0, 8.0), 0, (), 0, 1, 0.02)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_is_gone_at_the_end() -> None:
    stream = Terminal()
    progress = BenchProgress(stream)
    progress.running(Step(1, 2, "http://h", 1), 0.5)
    progress.ended(Step(1, 2, "http://h", 1), FOUND)
    progress.running(Step(2, 2, "http://h", 4), 1.0)
    progress.end()
    _, first, second, cleared, rest = stream.getvalue().split("\r")
    quarter = "█" * (WIDTH // 4) + "░" * (WIDTH - WIDTH // 4)
    assert first == f"{quarter}  1 of 2  http://h  1 connection"
    assert second.startswith("█" * WIDTH + "  2 of 2  http://h  4 connections; before: 9.0 texts/s")
    assert (cleared, rest) == (" " * len(second), "")


def test_elsewhere_a_line_for_each_window() -> None:
    stream = io.StringIO()
    progress = BenchProgress(stream)
    progress.running(Step(1, 2, "http://h", 1), 0.5)
    progress.ended(Step(1, 2, "http://h", 1), msgspec.structs.replace(FOUND, errors=3, limited=2))
    progress.end()
    assert stream.getvalue() == (
        "1 of 2  http://h  1 connection: 9.0 texts/s, p50 5.00 ms, 3 errors, 2 × 429\n"
    )

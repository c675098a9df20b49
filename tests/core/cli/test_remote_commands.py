"""pull, rm and ps against a small server on the loopback."""

import argparse
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from embedwell.cli import ps, pull, rm
from embedwell.cli.main import parser
from embedwell.cli.progress import ProgressLine, size
from embedwell.cli.remote import LONGEST, RemoteError, Server
from embedwell.errors import ConfigurationError, EmbedwellError
from embedwell.http.wire import TaskBody
from embedwell.interfaces.status import (
    CacheCounters,
    CacheStatus,
    Deleted,
    MemoryInfo,
    ResidentInfo,
)

TAG = "owner/model"


class Reply:
    def __init__(self, status: int, body: Any = None, raw: bytes | None = None) -> None:
        self.status = status
        self.content = msgspec.json.encode(body) if raw is None else raw


class FakeServer:
    """Answers by script: `replies` has, for a method and path, what comes next; the last stays."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.asked = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                server.seen.append((f"{self.command} {self.path}", dict(self.headers), body))
                script = server.replies.get(f"{self.command} {self.path}", [Reply(404, {})])
                reply = script.pop(0) if len(script) > 1 else script[0]
                self.send_response(reply.status)
                self.send_header("content-length", str(len(reply.content)))
                self.end_headers()
                self.wfile.write(reply.content)
                if self.command == "GET":
                    server.asked.set()

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def lines(self) -> list[str]:
        return [line for line, _, _ in self.seen]


@contextmanager
def running() -> Iterator[FakeServer]:
    server = FakeServer()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running() as made:
        yield made


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("EMBEDWELL_URL", "EMBEDWELL_API_KEY", "EMBEDWELL_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def task(status: str, done: int = 0, total: int | None = None, error: str | None = None) -> Reply:
    body = {
        "id": "t1", "kind": "download", "key": TAG, "status": status, "error": error,
        "progress": {"done": done, "total": total}, "created": 1.0, "finished": None,
    }  # fmt: skip
    return Reply(202 if status == "running" else 200, body)


def refusal(status: int, detail: str) -> Reply:
    error = {"message": detail, "type": "x", "param": None, "code": "x"}
    return Reply(status, {"detail": detail, "code": "X", "error": error})


def arguments(*words: str) -> argparse.Namespace:
    return parser().parse_args(words)


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "embedwell", *words],
        env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


# pull


def test_pull_shows_how_far_it_is_and_ends_well(server: FakeServer) -> None:
    server.replies = {
        "POST /models/huggingface": [task("running")],
        "GET /tasks/t1": [task("running", 45_000_000, 90_000_000), task("done", 90_000_000)],
    }
    done = command("pull", f"{TAG}@main", "--url", server.url, EMBEDWELL_API_KEY="secret")
    assert (done.returncode, done.stdout) == (0, f"{TAG}@main is there (90.0 MB)\n"), done.stderr
    assert done.stderr == (f"{TAG}@main  0 B\n{TAG}@main   50 %  45.0 MB of 90.0 MB\n"), (
        "plain lines where there is no terminal"
    )
    line, _, body = server.seen[0]
    assert (line, body) == ("POST /models/huggingface", {"model": TAG, "revision": "main"})
    assert {h.get("authorization") for _, h, _ in server.seen} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        ([TAG], "/models/huggingface", {"model": TAG}),
        (["huggingface:owner/model"], "/models/huggingface", {"model": TAG}),
        (["github:owner/model"], "/models/github", {"owner": "owner", "repo": "model"}),
        (
            ["github:owner/model@v/1", "--subfolder", "a/b", "--name", "mine"],
            "/models/github",
            {"owner": "owner", "repo": "model", "revision": "v/1", "subfolder": "a/b", "model": "mine"},
        ),
    ],
)  # fmt: skip
def test_what_is_asked_for(words: list[str], path: str, body: dict[str, str]) -> None:
    given = arguments("pull", *words)
    assert pull.request(given.tag, given.subfolder, given.name) == (path, body)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["model"], "an owner is missing"),
        (["upload:owner/model"], "only huggingface: and github: can be pulled from"),
        (["https://github.com/a/b"], "Not a model name"),
        ([TAG, "--name", "x"], "are for github:owner/repo only"),
        (["github:owner/model", "--subfolder", "x"], "--subfolder needs --name"),
    ],
)
def test_what_cannot_be_asked_for(words: list[str], reason: str) -> None:
    with pytest.raises(EmbedwellError, match=reason):
        pull.run(arguments("pull", *words, "--url", "http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (
            task("failed", error="The Hub is down"),
            "owner/model was not downloaded: The Hub is down",
        ),
        (task("cancelled"), "owner/model was not downloaded: it was cancelled"),
        (refusal(404, "Task not found: t1"), "Task not found: t1"),
    ],
)
def test_a_download_that_fails_says_why(server: FakeServer, end: Reply, reason: str) -> None:
    server.replies = {"POST /models/huggingface": [task("running")], "GET /tasks/t1": [end]}
    done = command("pull", TAG, "--url", server.url)
    assert done.returncode == 70
    assert done.stderr.splitlines()[-2:] == ["embedwell pull failed:", f"  {reason}"]
    assert server.lines() == ["POST /models/huggingface", "GET /tasks/t1"]


def test_interrupted_the_download_goes_on_and_that_is_said(server: FakeServer) -> None:
    server.replies = {
        "POST /models/huggingface": [task("running")],
        "GET /tasks/t1": [task("running", 1, 2)],
    }
    with subprocess.Popen(
        [sys.executable, "-m", "embedwell", "pull", TAG, "--url", server.url],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "EMBEDWELL_API_KEY": "k3y"},
    ) as child:  # fmt: skip
        try:
            assert server.asked.wait(60)
            child.send_signal(signal.SIGINT)
            out, told = child.communicate(timeout=60)
        finally:
            child.kill()
    assert (child.returncode, out) == (130, "")
    assert "The download goes on in the server. To cancel it:" in told
    key = '-H "Authorization: Bearer $EMBEDWELL_API_KEY"'  # the variable, not what it holds
    assert f"curl -X DELETE {key} {server.url}/tasks/t1" in told
    assert "Traceback" not in told
    assert not [line for line in server.lines() if line.startswith("DELETE")]


def test_a_look_that_fails_for_now_is_repeated(server: FakeServer) -> None:
    busy = [refusal(429, "Busy")] + [refusal(503, "Busy")] * (pull.TRIES - 2)
    server.replies = {"GET /tasks/t1": [*busy, task("running"), *busy, task("done", 5)]}
    begun = msgspec.json.decode(task("running").content, type=TaskBody)
    line = ProgressLine(TAG, io.StringIO())
    assert pull.follow(Server(server.url), begun, line, lambda _: None).status == "done"
    server.replies = {"GET /tasks/t1": [refusal(503, "The server is stopping")]}
    with pytest.raises(RemoteError, match="The server is stopping"):
        pull.follow(Server(server.url), begun, line, lambda _: None)
    assert len(server.seen) == 3 * pull.TRIES


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_changes() -> None:
    stream = Terminal()
    line = ProgressLine(TAG, stream)
    line.show(999_000, 2_000_000_000)
    line.show(0, None)
    line.end()
    first, second = (f"{TAG}    0 %  999 kB of 2.00 GB", f"{TAG}  0 B")
    assert stream.getvalue() == f"\r{first}\r{second.ljust(len(first))}\n"


def test_elsewhere_a_line_every_ten_percent() -> None:
    stream = io.StringIO()
    line = ProgressLine(TAG, stream)
    for done in range(0, 101):
        line.show(done, 100)
    line.end()
    assert [int(p) for p in re.findall(r"(\d+) %", stream.getvalue())] == [*range(0, 101, 10)]
    assert [size(n) for n in (0, 999, 1_000, 1_500_000)] == ["0 B", "999 B", "1 kB", "1.5 MB"]


# rm


@pytest.mark.parametrize(
    ("state", "end"), [("deleted", ""), ("draining", "; requests that hold it finish first")]
)
def test_rm(server: FakeServer, capsys: pytest.CaptureFixture[str], state: str, end: str) -> None:
    body = {"model": TAG, "revision": "abc", "source": "upload", "state": state, "deleted": True}
    server.replies = {"DELETE /models/upload:owner/model@v/1": [Reply(200, body)]}
    given = arguments("rm", "upload:owner/model@v/1", "--url", f"{server.url}/")
    assert rm.run(given) == 0
    assert capsys.readouterr().out == f"deleted {TAG}@abc from upload{end}\n"


@pytest.mark.parametrize(
    ("tag", "revisions", "what"),
    [
        (TAG, ["abc", "d"], f"{TAG} (2 revisions)"),
        (f"upload:{TAG}", ["abc"], f"{TAG} (1 revision)"),
        (f"{TAG}@abc", ["abc"], f"{TAG}@abc"),
    ],
)
def test_rm_says_how_many_revisions(
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    tag: str,
    revisions: list[str],
    what: str,
) -> None:
    gone = Deleted(model=TAG, revision="abc", revisions=revisions, source="upload", state="deleted")
    server.replies = {f"DELETE /models/{tag}": [Reply(200, gone)]}
    assert rm.run(arguments("rm", tag, "--url", server.url)) == 0
    assert capsys.readouterr().out == f"deleted {what} from upload\n"


def test_rm_of_what_cannot_be_deleted(server: FakeServer) -> None:
    server.replies = {
        f"DELETE /models/{TAG}": [refusal(409, "Models of this source are read-only")]
    }
    done = command("rm", TAG, EMBEDWELL_URL=server.url)
    assert done.returncode == 70
    assert done.stderr == "embedwell rm failed:\n  Models of this source are read-only\n"
    assert "NAME@REVISION: only that one" in " ".join(command("rm", "--help").stdout.split())
    with pytest.raises(EmbedwellError, match="Not a model name"):
        rm.run(arguments("rm", "../x", "--url", server.url))


@pytest.mark.parametrize("where", ["models", f"models/{TAG}"])
def test_rm_says_how_to_list_what_the_server_has(server: FakeServer, where: str) -> None:
    missed = refusal(404, f"Model not found: {TAG}; GET /{where} lists those at hand")
    server.replies = {f"DELETE /below/models/{TAG}": [missed]}
    with pytest.raises(RemoteError) as caught:
        rm.run(arguments("rm", TAG, "--url", f"{server.url}/below"))
    assert caught.value.message == (
        f"Model not found: {TAG}; curl {server.url}/below/{where} lists those at hand"
    )


# ps


def status(*models: ResidentInfo) -> CacheStatus:
    return CacheStatus(
        strategy="vram_aware", settings={}, device="cuda:0", models=models,
        memory=MemoryInfo(24_000_000_000, 6_100_000_000, 17_900_000_000, 3_000_000_000),
        counters=CacheCounters(hits=10, misses=3, loads=3, evictions=2, load_failures=1),
    )  # fmt: skip


def resident(tag: str, idle: float, leases: int = 0, pinned: bool = False) -> ResidentInfo:
    return ResidentInfo(
        tag=tag, revision="abc", source="upload", device="cuda:0", dtype="float16",
        bytes=45_000_000, state="ready", leases=leases, requests=7,
        last_used=time.time() - idle if idle else 0.0, load_seconds=1.0, pinned=pinned,
    )  # fmt: skip


def test_ps(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    shown = status(
        resident("owner/a", 7_200.0, pinned=True),
        resident("owner/b", 300.0, leases=2),
        resident("owner/c\x1b[31m", 600.0),
        resident("d", 0),
        resident("e", -50.0),
    )
    server.replies = {"GET /embeddings/cache/status": [Reply(200, shown)]}
    assert ps.run(arguments("ps", "--url", server.url)) == 0
    head, *rows, memory, counters = capsys.readouterr().out.splitlines()
    assert head.split() == ["MODEL", "SOURCE", "SIZE", "STATE", "LEASES", "REQUESTS", "IDLE"]
    assert [row.split("  ")[0] for row in rows][:2] == ["owner/a", "owner/b"]
    assert "ready, pinned" in rows[0]
    assert [re.split(r"\s{2,}", row)[-1] for row in rows] == ["2 h", "-", "10 min", "-", "0 s"]
    assert "\x1b" not in rows[2]
    assert memory == (
        "cuda:0: 6.10 GB of 24.00 GB in use, 3.00 GB of it for models; strategy vram_aware"
    )
    assert counters == "hits 10, misses 3, loads 3, evictions 2, load failures 1"


def test_ps_of_an_empty_cache(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.replies = {"GET /embeddings/cache/status": [Reply(200, status())]}
    ps.run(arguments("ps", "--url", server.url))
    assert capsys.readouterr().out.startswith("No model is loaded")


# whatever is asked


def ask_ps(url: str) -> None:
    ps.run(arguments("ps", "--url", url))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (refusal(401, "A key is needed"), r"^A key is needed \(EMBEDWELL_API_KEY is sent as the key\)$"),
        (
            refusal(403, 'The key "a" lacks the scope "manage"'),
            r"the scope \"manage\" \(EMBEDWELL_API_KEY is sent as the key; one that may: "
            r"python -m embedwell_plugin_auth new NAME --scopes embed manage\)$",
        ),
        (refusal(403, "Host x"), r"^Host x \(EMBEDWELL_API_KEY is sent as the key\)$"),
        (refusal(503, "Not\nready\x1b[2J"), r"^Not ready \[2J$"),
        (Reply(502, raw=b"<html>"), r"answered 502 \(Bad Gateway\): check --url$"),
        (Reply(301, raw=b""), r"answered 301 \(Moved Permanently\): check --url$"),
        (Reply(599, raw=b"[" * 100_000), r"answered 599 \(no status there is\): check --url$"),
        (Reply(500, raw=b'{"detail": 5}'), r"answered 500 \(Internal Server Error\)"),
        (Reply(200, raw=b"<html>"), "answered what no Embedwell does: check --url$"),
        (Reply(200, {"strategy": 1}), "answered what no Embedwell does"),
        (Reply(200, raw=b" " * LONGEST + msgspec.json.encode(status())), "what no Embedwell does"),
    ],
)  # fmt: skip
def test_refusals_and_strangers(server: FakeServer, reply: Reply, reason: str) -> None:
    server.replies = {"GET /embeddings/cache/status": [reply]}
    with pytest.raises(RemoteError, match=reason):
        ask_ps(server.url)


def test_nobody_there() -> None:
    with running() as server:
        url = server.url
    done = command("ps", "--url", url)
    assert done.returncode == 70
    assert done.stderr == (
        "embedwell ps failed:\n"
        f"  {url} cannot be reached: Connection refused; is the server running there? "
        "(--url or EMBEDWELL_URL names another)\n"
    )


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000", "ftp://host", "http://", "http://h:x", "http://h:99999", "http://u:p@h",
        "http://h/?a=b", "http://[::1", "http://h\n/x", "http://hôst",
    ],
)  # fmt: skip
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(RemoteError, match="not a server's URL: say http://HOST:PORT"):
        Server(url)


def test_below_a_prefix(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.replies = {"GET /embed/embeddings/cache/status": [Reply(200, status())]}
    ask_ps(f"{server.url}/embed/")
    assert "hits 10" in capsys.readouterr().out


def test_the_port_comes_from_the_configuration(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.replies = {"GET /embeddings/cache/status": [Reply(200, status())]}
    port = server.http.server_address[1]
    (tmp_path / "config.toml").write_text(f"[server]\nport = {port}\n")
    assert ps.run(arguments("ps")) == 0
    (tmp_path / "config.toml").write_text("[server]\nport = 0\n")
    with pytest.raises(RemoteError, match=r"server\.port is 0, any free port: say --url"):
        ps.run(arguments("ps"))
    (tmp_path / "config.toml").write_text("[server]\nport = 'x'\n")
    with pytest.raises(ConfigurationError, match=r"server\.port"):
        ps.run(arguments("ps"))


def test_a_key_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDWELL_API_KEY", "a\nb")
    with pytest.raises(RemoteError, match="EMBEDWELL_API_KEY has characters that no key may have"):
        ask_ps("http://127.0.0.1:9")

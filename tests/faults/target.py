"""A real server to be mistreated: `embedwell serve` with little models, everything of its own in one folder."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import numpy as np
from msgspec import Struct

from embedwell.testing import make_model_folder
from tests.faults import rawhttp

MODELS = {"tiny": 2, "owner/other": 1, "third": 3}  # layers: three models, three vectors
NAN = "not-a-number"  # its vectors are none for a text with the word w66
WORDS, HIDDEN, MAX_TOKENS = 200, 32, 64
VOCABULARY = 5 + WORDS
BODY_TIMEOUT = 5.0  # seconds
MAX_BODY = 16_000_000  # bytes
START = 120.0  # seconds
SETTINGS = """
[server]
port = 0
body_timeout = {body_timeout}
[engine]
device = "cpu"
dtype = "float32"
[cache]
safety_margin_gb = 0.1
[sources.training]
directory = "runs"
settle_seconds = 0
[sources.huggingface]
download = "never"
endpoint = "http://127.0.0.1:{canary}"
[sources.github]
api_url = "http://127.0.0.1:{canary}"
"""
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


class Target(Struct, frozen=True):
    """A running server; nobody but it may write below `folder`, nor connect to `canary`."""

    port: int
    pid: int
    folder: Path
    canary: socket.socket

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def post(self, path: str, content: object, *headers: tuple[str, str]) -> rawhttp.Answer:
        return rawhttp.post(self.port, path, content, *headers)

    def get(self, path: str) -> rawhttp.Answer:
        return rawhttp.ask(self.port, "GET", path)

    def vectors(self, inputs: object, model: str = "tiny") -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
        """Of texts or token lists that are good."""
        answer = self.post("/embeddings", {"model": model, "input": inputs})
        assert answer.status == 200, answer.body[:500]
        rows = answer.json["data"]
        assert [row["index"] for row in rows] == list(range(len(rows)))
        return np.array([row["embedding"] for row in rows])

    def alive(self) -> bool:
        return Path(f"/proc/{self.pid}").exists()


@contextmanager
def serving(folder: Path) -> Iterator[Target]:
    """Starts it in `folder`, whose parent must be writable by nobody else; stops it at the end."""
    for name, layers in MODELS.items():
        make_model(folder / "runs" / name, layers)
    spoil(make_model(folder / "runs" / NAN, 2))
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.setblocking(False)
        with _process(folder, canary.getsockname()[1]) as (process, port):
            yield Target(port, process.pid, folder, canary)


@contextmanager
def _process(folder: Path, canary: int) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    settings = SETTINGS.format(canary=canary, body_timeout=BODY_TIMEOUT)
    (folder / "config.toml").write_text(settings)
    own = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    with (folder / "log").open("ab") as log, subprocess.Popen(
        [sys.executable, "-m", "embedwell", "serve"],
        cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True,
        env=os.environ | ALLOCATOR | own,
    ) as process:  # fmt: skip
        late = Timer(START, process.kill)
        late.start()
        try:
            assert process.stdout
            line = process.stdout.readline()
            late.cancel()
            assert "ready on" in line, (folder / "log").read_text()[-2000:]
            yield process, int(line.split("ready on http://localhost:")[1].split(" ")[0])
        finally:
            late.cancel()
            process.kill()


def make_model(folder: Path, layers: int) -> Path:
    """A BERT of random weights; its tokeniser knows w0 to w199."""
    from tests.core.engine.small_models import build

    make_model_folder(folder, hidden=HIDDEN, max_tokens=MAX_TOKENS, prompts={"query": "w1 "})
    return build(
        folder, "bert", vocab_size=VOCABULARY, max_position_embeddings=MAX_TOKENS,
        num_hidden_layers=layers,
    )  # fmt: skip


def spoil(folder: Path) -> None:
    """One word is not a number, as a broken training would leave it."""
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    rows = tensors[name].copy()
    rows[5 + 66] = np.nan
    save_file({**tensors, name: rows}, path, metadata={"format": "pt"})

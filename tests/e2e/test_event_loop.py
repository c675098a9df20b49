"""Once ready, the event loop's thread opens no file and imports no module: others do."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from embedwell.testing.server import running_server
from tests.e2e.conftest import MINILM, config

HARMLESS = ("/proc/", "/sys/fs/cgroup/", "/dev/")  # in memory: never a disk
_watched: list[tuple[int, list[str]]] = []
_hooked = False


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _watched or event not in ("open", "import"):
        return
    thread, seen = _watched[0]
    name = str(arguments[0])
    if threading.get_ident() == thread and not name.startswith(HARMLESS):
        seen.append(f"{event} {name}")


@contextmanager
def watching() -> Iterator[list[str]]:
    """What this thread opens and imports; an audit hook can be added, never taken away."""
    global _hooked  # noqa: PLW0603
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    seen: list[str] = []
    _watched.append((threading.get_ident(), seen))
    try:
        yield seen
    finally:
        _watched.pop()


def test_the_watch_sees_what_it_should(tmp_path: Path) -> None:
    with watching() as seen:
        (tmp_path / "file").write_text("x")
        import this as _  # noqa: F401
    assert any("file" in what for what in seen)
    assert any("import this" in what for what in seen)


async def test_from_ready_on_the_loop_only_computes(tmp_path: Path) -> None:
    async with running_server(config(tmp_path)) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            await client.get("/health")  # the client's own first imports
            with watching() as seen:
                bodies = [{"model": MINILM, "input": ["text " * n]} for n in (1, 10, 2000)]
                answers = await asyncio.gather(
                    *(client.post("/embeddings", json=body) for body in bodies)
                )
                listing = await client.get("/models")
                wrong = await client.post("/v1/embeddings", json={"model": "no-such", "input": 1})
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert (listing.status_code, wrong.status_code) == (200, 400)
        assert seen == []

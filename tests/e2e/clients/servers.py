"""What the clients talk to: the real thing, and servers that are busy on purpose."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from embedwell import BlockingSource, ModelRef, Snapshot, SourceSpec, hookimpl
from embedwell.config.schema import Batching
from embedwell.errors import Loading
from embedwell.interfaces.events import RequestFinished
from embedwell.testing import FakeBackend, make_model_folder
from embedwell.testing.server import RunningServer, running_server
from tests.core.models.archives import pack_folder
from tests.e2e.conftest import config
from tests.e2e.test_training_run import untrained
from tests.faults.fake_models import Nothing
from tests.faults.served import SETTINGS, served

POISON = 5 + 66  # the id of "w66" in the tiny tokeniser
EXACT = """
[engine]
dtype = "float32"
"""  # or a vector would depend a little on how a client splits a list
WAIT = 1.5  # seconds: longer than what clients wait when nobody tells them


@asynccontextmanager
async def real(folder: Path) -> AsyncIterator[str]:
    """The address of `embedwell serve` with MiniLM, and with `tiny`, which was uploaded."""
    untrained(folder / "tiny")
    archive = pack_folder(folder / "tiny.tar", "tar", folder / "tiny")
    async with (
        served(folder, SETTINGS + EXACT) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60) as http,
    ):
        sent = await http.put(
            "/models/upload", params={"model": "tiny"}, content=archive.read_bytes()
        )
        assert sent.status_code == 201, sent.text
        yield server.url


class Busy:
    """A server with the model `some`: `w66` holds its device until `go`, eight tokens its queue."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.backend = FakeBackend(faults={POISON: self._hold})

    def _hold(self) -> None:
        self.go.wait()

    @asynccontextmanager
    async def running(self, folder: Path, **sections: Any) -> AsyncIterator[RunningServer]:
        """Lets the device go at the end."""
        make_model_folder(folder / "models" / "some")
        settings = config(folder, batching=Batching(max_queued_tokens=8), **sections)
        plugin = Models(folder / "models")
        async with running_server(settings, modules=[plugin], backend=self.backend) as server:
            try:
                yield server
            finally:
                self.go.set()


class Models:
    """A plugin: folders are models, but the first who asks for `cold` is told to come again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @hookimpl
    def register_sources(self) -> Sequence[SourceSpec[Any]]:
        folder, asked = self.folder, threading.Event()

        class Folder(BlockingSource):
            def find(self, ref: ModelRef) -> Snapshot | None:
                if ref.name == "cold" and not asked.is_set():
                    asked.set()
                    raise Loading("The model is on its way", retry_after=WAIT)
                if ref.name not in ("cold", "some"):
                    return None
                return Snapshot.of_folder(folder / "some", "folder", ref.name)

        spec = SourceSpec(
            name="folder", summary="tests", priority=500, config=Nothing, build=Folder
        )
        return [spec]


def requests(server: RunningServer) -> list[RequestFinished]:
    """Embedding requests that ended so far."""
    finished = (event for event in server.events if isinstance(event, RequestFinished))
    return [event for event in finished if event.route == "/v1/embeddings"]


async def until_ended(server: RunningServer, status: int) -> None:
    """Returns once a request has ended with this status."""
    async with asyncio.timeout(60):
        while status not in [event.status for event in requests(server)]:
            await asyncio.sleep(0.01)

"""From a tag to what is compared: the snapshot, its manifest, texts as its tokeniser gives them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from embedwell.catalog import Local, local
from embedwell.config.schema import Config
from embedwell.errors import ConfigurationError
from embedwell.interfaces.embedding import EmbeddingCall, Tokens
from embedwell.interfaces.encoders import Batch
from embedwell.interfaces.models import Manifest, ModelRef, Snapshot
from embedwell.interfaces.tasks import Task, Tasks
from embedwell.loader.plugins import Plugins
from embedwell.samples import tokenized
from embedwell.tokenization.tokenizers import Tokenizers

DAY = 86_400.0  # seconds that a download may take
LOOK = 0.5  # seconds between two looks at one


class Subject(Struct, frozen=True):
    """A model at hand. `samples` are what its first load in a server is tried with."""

    snapshot: Snapshot
    manifest: Manifest
    texts: tuple[str, ...]
    tokens: Tokens
    samples: Batch


async def find(
    config: Config,
    plugins: Plugins,
    ref: ModelRef,
    texts: Sequence[str],
    watch: Callable[[Task], None],
) -> Subject:
    """Downloads where the server would, and `watch` sees how far that is.

    Raises ConfigurationError, and what the registry, the manifest and the tokeniser raise.
    """
    _make(Path(config.server.data_dir))
    patient = replace(config, sources=replace(config.sources, load_timeout=DAY))
    async with (
        local(patient, plugins) as here,
        _watched(here.tasks, watch),
        here.registry.open(ref) as snapshot,
    ):
        return await _read(here, snapshot, tuple(texts))


def _make(folder: Path) -> None:
    """As a server would at its start: downloads go there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError([f"server.data_dir: {folder}: {why}"]) from error


async def _read(here: Local, snapshot: Snapshot, texts: tuple[str, ...]) -> Subject:
    manifest = await here.manifests.of(snapshot)
    tokenizers = Tokenizers(here.threads)
    try:
        call = EmbeddingCall(ref=ModelRef(snapshot.key.name), texts=texts, timeout=DAY)
        tokens = await tokenizers.encode(snapshot, manifest, call)
        samples = await tokenized(tokenizers, snapshot, manifest)
    finally:
        await tokenizers.aclose()
    return Subject(snapshot, manifest, texts, tokens, samples)


@asynccontextmanager
async def _watched(tasks: Tasks, watch: Callable[[Task], None]) -> AsyncIterator[None]:
    def look() -> None:
        for task in tasks.list():
            watch(task)

    async def now_and_then() -> None:
        while True:
            look()
            await asyncio.sleep(LOOK)

    looking = asyncio.create_task(now_and_then())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait([looking])
        look()

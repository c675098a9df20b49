"""The tokenisers in memory: each loaded once, the least recently used go."""

import asyncio
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from embedwell.errors import InvalidModel
from embedwell.interfaces.embedding import EmbeddingCall, Tokens
from embedwell.interfaces.models import Manifest, Snapshot
from embedwell.interfaces.services import Threads
from embedwell.tokenization.tokenizer import Tokenizer, is_panic

if TYPE_CHECKING:
    import tokenizers


class Tokenizers:
    """Loads in threads, once per content however many ask; keeps the last `capacity`."""

    def __init__(self, threads: Threads, capacity: int = 8, patience: float = 0.01) -> None:
        """A tokeniser that takes `patience` seconds for a short text leaves the loop for good."""
        self._threads = threads
        self._capacity = capacity
        self._patience = patience
        self._slow: set[str] = set()  # digests, of those kept only
        self._kept: OrderedDict[str, asyncio.Task[Tokenizer]] = OrderedDict()

    async def encode(self, snapshot: Snapshot, manifest: Manifest, call: EmbeddingCall) -> Tokens:
        """Checked sequences in input order, on the loop where they are short.

        Raises Invalid for the input, InvalidModel and ModelError for the tokeniser.
        """
        tokenizer = await self._of(snapshot, manifest)
        if snapshot.digest in self._slow or not tokenizer.is_short(call):
            return await self._threads.run(tokenizer.encode, call)
        started = time.thread_time()  # on a busy machine the loop waits for its turn as well
        try:
            return tokenizer.encode(call)
        finally:
            if time.thread_time() - started > self._patience:
                self._slow.add(snapshot.digest)

    async def _of(self, snapshot: Snapshot, manifest: Manifest) -> Tokenizer:
        task = self._kept.get(snapshot.digest)
        if task is None:
            loading = self._threads.run(load, snapshot.path, manifest)
            task = asyncio.get_running_loop().create_task(loading)
            self._kept[snapshot.digest] = task
            task.add_done_callback(lambda done: self._drop_failed(snapshot.digest, done))
        self._kept.move_to_end(snapshot.digest)
        self._shrink()
        return task.result() if task.done() else await asyncio.shield(task)

    def _shrink(self) -> None:
        """Those still loading stay: somebody waits for them and they would be loaded again."""
        if len(self._kept) <= self._capacity:
            return
        loaded = [digest for digest, task in self._kept.items() if task.done()]
        for digest in loaded[: max(0, len(self._kept) - self._capacity)]:
            del self._kept[digest]
        self._slow &= self._kept.keys()

    def _drop_failed(self, digest: str, task: "asyncio.Task[Tokenizer]") -> None:
        failed = task.cancelled() or task.exception() is not None
        if failed and self._kept.get(digest) is task:
            del self._kept[digest]

    async def aclose(self) -> None:
        """Cancel what is loading and forget the rest."""
        tasks = list(self._kept.values())
        self._kept.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def load(path: Path, manifest: Manifest) -> Tokenizer:
    """The snapshot's tokeniser; blocks, and raises InvalidModel."""
    return Tokenizer(_read(path / manifest.folder / "tokenizer.json"), manifest)


def _read(file: Path) -> "tokenizers.Tokenizer":
    from tokenizers import Tokenizer as Backend

    if not file.is_file():
        raise InvalidModel("Its tokenizer.json is missing: a model needs a fast tokenizer")
    try:
        return Backend.from_file(str(file))
    except BaseException as error:
        if isinstance(error, Exception) or is_panic(error):
            what = " ".join(str(error).replace(str(file), "tokenizer.json").split())[:200]
            raise InvalidModel(f"Its tokenizer.json cannot be used: {what}") from error
        raise

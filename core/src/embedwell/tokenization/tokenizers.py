"""The tokenisers in memory: loaded once, the least recently used goes first."""

import asyncio
from collections import OrderedDict

from embedwell.interfaces.embedding import EmbeddingCall, Tokens
from embedwell.interfaces.models import Manifest, Snapshot
from embedwell.interfaces.services import Threads
from embedwell.tokenization.tokenizer import ModelTokenizer

INLINE_CHARACTERS = 2_000  # tokenised on the loop: quicker than the way to a thread


class Tokenizers:
    """Encodes; loads and long texts go to threads. On the loop only."""

    def __init__(self, threads: Threads, capacity: int = 8) -> None:
        self._threads = threads
        self._capacity = capacity
        self._loaded: OrderedDict[str, asyncio.Task[ModelTokenizer]] = OrderedDict()

    async def encode(self, snapshot: Snapshot, manifest: Manifest, call: EmbeddingCall) -> Tokens:
        """Raises Invalid, InvalidModel, ModelError."""
        tokenizer = await self._get(snapshot, manifest)
        if sum(map(len, call.texts)) <= INLINE_CHARACTERS:
            return tokenizer.encode(call)
        return await self._threads.run(tokenizer.encode, call)

    async def _get(self, snapshot: Snapshot, manifest: Manifest) -> ModelTokenizer:
        task = self._loaded.get(snapshot.digest)
        if task is None:
            path = snapshot.path / manifest.folder / "tokenizer.json"
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._threads.run(ModelTokenizer, path, manifest))
            self._loaded[snapshot.digest] = task
            task.add_done_callback(lambda done: self._drop_failed(snapshot.digest, done))
            while len(self._loaded) > self._capacity:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(snapshot.digest)
        return await asyncio.shield(task)

    def _drop_failed(self, digest: str, task: "asyncio.Task[ModelTokenizer]") -> None:
        failed = task.cancelled() or task.exception() is not None
        if failed and self._loaded.get(digest) is task:
            del self._loaded[digest]

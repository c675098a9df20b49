"""Embedwell's own request path, without HTTP: what the reference deployment loads."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.engines.engine import Engine, Rows, Setting

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
CONFIG = Path("config.toml")  # of the repository's root, where `make` runs
PATIENCE = 3_600.0  # seconds: slow machines get no 429 here


class Ours(Engine):
    """`precision` is engine.dtype; one that this version lacks is refused by the configuration."""

    def __init__(self, setting: Setting, precision: str) -> None:
        from embedwell.config.load import load
        from embedwell.errors import ConfigurationError
        from embedwell.loader.load import load as load_plugins
        from embedwell.runtime import Runtime

        given = {
            "server.data_dir": str(setting.scratch),
            "server.request_timeout": PATIENCE,
            "engine.dtype": precision,
            "engine.preload": [MINILM],
        }
        try:
            config = load(CONFIG, {}, given)
        except ConfigurationError as error:
            raise ValueError("; ".join(error.reasons)) from None
        self._runner = asyncio.Runner()
        self._runtime = Runtime(config, plugins=load_plugins(config))
        self._runner.run(self._start())

    async def _start(self) -> None:
        await self._runtime.__aenter__()
        await self._runtime.warmed()

    def embed(self, texts: Sequence[str]) -> Rows:
        """One request after the other, each as large as the server takes.

        Not by the runner's `run`: its signal handlers write down, for an error that nobody sees,
        what the task gave, which takes as long as a short text.
        """
        return self._runner.get_loop().run_until_complete(self._embed(texts))

    async def _embed(self, texts: Sequence[str]) -> Rows:
        import numpy as np

        from embedwell.interfaces.embedding import EmbeddingCall
        from embedwell.interfaces.models import ModelRef

        step = self._runtime.max_inputs
        parts = []
        for start in range(0, len(texts), step):
            call = EmbeddingCall(
                ref=ModelRef(MINILM), texts=tuple(texts[start : start + step]), timeout=PATIENCE
            )
            parts.append((await self._runtime.embedder.embed(call)).rows)
        return np.concatenate(parts)

"""From a start to the first request: imports, the proof of the device, and what /ready says."""

import asyncio
import logging
from collections.abc import Callable

import anyio

from embedwell.batching.batcher import Batcher
from embedwell.errors import EmbedwellError
from embedwell.interfaces.encoders import Backend
from embedwell.interfaces.services import Registry
from embedwell.interfaces.status import Readiness
from embedwell.models.manifests import Manifests
from embedwell.tasks.threads import BoundedThreads

log = logging.getLogger("embedwell.runtime")

PROOF_SECONDS = 2.0  # that /ready waits for the device


class Warmup:
    """Begins when it is made, in the background; loop only."""

    def __init__(
        self,
        backend: Backend,
        registry: Registry,
        manifests: Manifests,
        batcher: Batcher,
        *,
        last: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._registry = registry
        self._manifests = manifests
        self._batcher = batcher
        self._last = last
        self._warming = asyncio.get_running_loop().create_task(self._warm())

    async def _warm(self) -> None:
        """Import what the local models need, and prove the device."""
        kinds = set()
        for listed in await self._registry.models():
            try:
                kinds.add((await self._manifests.of(listed.snapshot)).model_type)
            except EmbedwellError as error:
                log.warning("%s cannot be served: %s", listed.snapshot.key.name, error.message)
        await BoundedThreads(1).run(self._backend.warm, sorted(kinds))
        await self._batcher.prove()
        self._last()

    async def done(self) -> None:
        """Returns once the first request could be served; raises what stood in its way."""
        await asyncio.shield(self._warming)

    async def ready(self) -> Readiness:
        """Asks the device for a small product unless the last attempt succeeded."""
        if self._batcher.fatal.done():
            return Readiness(False, self._batcher.fatal.result())
        if not self._warming.done():
            return Readiness(False, "the engine is starting")
        if self._warming.cancelled() or self._warming.exception() is not None:
            return Readiness(False, "the engine could not be started")
        return await self._proven()

    async def _proven(self) -> Readiness:
        if not self._batcher.proven:
            with anyio.move_on_after(PROOF_SECONDS) as scope:
                try:
                    await self._batcher.prove()
                except EmbedwellError as error:
                    return Readiness(False, error.message)
            if scope.cancelled_caught:
                return Readiness(False, "the device does not answer")
        return Readiness(True)

    async def aclose(self) -> None:
        """Give up what is still under way."""
        self._warming.cancel()
        await asyncio.wait([self._warming])

"""A part of a batch that never returns, in the thread of a lane: seen from the batcher."""

import asyncio
import threading
import time
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from embedwell.batching.batcher import Batcher
from embedwell.config.schema import Batching
from embedwell.engine.cpu.backend import CpuBackend
from embedwell.engine.cpu.lanes import LEAST
from embedwell.engine.encoder import TorchEncoder
from embedwell.engine.heads import Heads
from embedwell.errors import DeadlineExceeded
from embedwell.interfaces.embedding import Tokens
from tests.core.engine import small_models as small

TIMEOUT = 3.0  # seconds
TEXTS, LENGTH = 16, 2 * LEAST // 16  # a batch in two parts


class Hanging:
    """The model's own heads, which the first part to come hangs in."""

    def __init__(self, heads: Heads) -> None:
        self.free = threading.Event()
        self._heads = heads
        self._first = threading.Lock()

    def __call__(self, blocks: Any) -> Tensor:
        if self._first.acquire(blocking=False):
            self.free.wait()
        return self._heads(blocks)


class Handle:
    """A lease that counts."""

    def __init__(self, encoder: TorchEncoder) -> None:
        self.name, self.encoder, self.held = "bert", encoder, 0

    def hold(self) -> None:
        self.held += 1

    def release(self) -> None:
        self.held -= 1


def lanes() -> int:
    return sum(thread.name == "embedwell-lane" for thread in threading.enumerate())


def texts(seed: int) -> Tokens:
    dice = np.random.default_rng(seed)
    ids = [array("i", dice.integers(5, 299, LENGTH).tolist()).tobytes() for _ in range(TEXTS)]
    return Tokens(tuple(ids), (LENGTH,) * TEXTS, 0)


@pytest.fixture
def encoder(tmp_path: Path) -> TorchEncoder:
    folder = small.build(tmp_path, "bert")
    made = CpuBackend(2, "float32").load(folder, small.manifest(folder))
    assert isinstance(made, TorchEncoder)
    return made


async def test_it_costs_its_request_and_its_threads(encoder: TorchEncoder) -> None:
    assert encoder._loaded
    body, heads = encoder._loaded
    hanging = Hanging(heads)
    encoder._loaded = (body, hanging)  # type: ignore[assignment]
    before = lanes()
    batcher = Batcher(
        Batching(batch_timeout=TIMEOUT),
        device="cpu",
        check=lambda: None,
        horizon=60,
        emit=lambda event: None,
        clock=time.monotonic,
    )
    handle = Handle(encoder)
    with pytest.raises(DeadlineExceeded):
        await batcher.submit(handle, texts(0))
    assert lanes() == before + 2, "one hangs, its neighbour waits for it"
    answers = await asyncio.gather(*(batcher.submit(handle, texts(i)) for i in range(1, 5)))
    assert all(len(answer.chunks[0].rows) for answer in answers)
    assert handle.held == 1, "the lost thread still uses the model"
    hanging.free.set()
    async with asyncio.timeout(60):
        while handle.held or lanes() > before + 2:
            await asyncio.sleep(0.01)
    await batcher.aclose()
    async with asyncio.timeout(60):
        while lanes() > before:
            await asyncio.sleep(0.01)

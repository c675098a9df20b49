"""A device without torch: vectors from a hash, faults on chosen token ids, memory as told."""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embedwell.interfaces.caches import Need
from embedwell.interfaces.encoders import (
    UNTRIED,
    Batch,
    DeviceOutOfMemory,
    EncoderFacts,
    Memory,
    Trial,
    Verdict,
)
from embedwell.interfaces.models import Manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedwell.interfaces.encoders import Rows

Fault = Callable[[], float | None]


class FakeMemory:
    """Reports what it was last told; `taken` is what models of a FakeBackend hold."""

    def __init__(self, total: int = 10_000_000_000, others: int = 0) -> None:
        self.total = total
        self.others = others
        self.taken = 0

    def measure(self) -> Memory:
        return Memory(self.total, max(0, self.total - self.others - self.taken))


class FakeEncoder:
    """A row depends on its own ids alone.

    `faults` maps a token id to what happens when a batch has it: raise, block, or count; a number
    that it returns fills the row, NaN for one. A batch of more than `capacity` tokens is out of
    memory. `batches` keeps what was run.
    """

    def __init__(
        self,
        *,
        dimensions: int = 8,
        vocabulary: int = 1000,
        batch_tokens: int = 512,
        packed: bool = True,
        need: Need | None = None,
        faults: Mapping[int, Fault] | None = None,
        capacity: int | None = None,
    ) -> None:
        self.facts = EncoderFacts(
            device="fake",
            dimensions=dimensions,
            vocabulary=vocabulary,
            verdict=Verdict(dtype="float32", packed=packed),
            batch_tokens=batch_tokens,
            need=need or Need(1_000_000, 100_000),
        )
        self.faults = dict(faults or {})
        self.capacity = capacity
        self.batches: list[Batch] = []
        self.closed = False

    def encode(self, batch: Batch) -> "Rows":
        assert not self.closed, "encode after close"
        self.batches.append(batch)
        if self.capacity is not None and sum(batch.lengths) > self.capacity:
            raise DeviceOutOfMemory(f"{sum(batch.lengths)} tokens")
        ids = np.frombuffer(batch.ids, "<i4")
        return np.stack(
            [self._row(piece) for piece in np.split(ids, np.cumsum(batch.lengths)[:-1])]
        )

    def _row(self, ids: "NDArray[np.int32]") -> "Rows":
        row = vector(ids.tobytes(), self.facts.dimensions)
        for token in ids.tolist():
            filling = self.faults[token]() if token in self.faults else None
            if filling is not None:
                row[:] = filling
        return row

    def close(self) -> None:
        self.closed = True


def vector(ids: bytes, dimensions: int) -> "Rows":
    """The row of these little-endian int32 ids: pseudo-random, float32 `[dimensions]`."""
    seed = int.from_bytes(hashlib.sha256(ids).digest()[:8], "little")
    row: Rows = np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)
    return row


class FakeBackend:
    """Loads any manifest; `gate` holds loads back, the next ones raise `failures`.

    `load_faults` has what happens when the model in a folder of this name is loaded.
    """

    def __init__(
        self,
        *,
        memory: FakeMemory | None = None,
        faults: Mapping[int, Fault] | None = None,
        capacity: int | None = None,
    ) -> None:
        self.device = "fake"
        self.dtype = "float32"
        self.threads = 1
        self.memory = memory or FakeMemory()
        self.faults = dict(faults or {})
        self.capacity = capacity
        self.gate = threading.Event()
        self.gate.set()
        self.loading = threading.Event()
        self.failures: list[BaseException] = []
        self.load_faults: dict[str, Callable[[], object]] = {}
        self.loads: list[str] = []
        self.trials: list[Trial] = []
        self.encoders: list[FakeEncoder] = []
        self.broken: Exception | None = None

    def warm(self, model_types: Sequence[str]) -> None:
        """Nothing to import."""

    def check(self) -> None:
        if self.broken is not None:
            raise self.broken

    def estimate(self, manifest: Manifest) -> Need:
        return Need(max(1, manifest.bytes), max(1, manifest.bytes // 10))

    def load(self, path: Path, manifest: Manifest, trial: Trial = UNTRIED) -> FakeEncoder:
        self.loads.append(path.name)
        self.trials.append(trial)
        self.loading.set()
        self.gate.wait()
        if path.name in self.load_faults:
            self.load_faults[path.name]()
        if self.failures:
            raise self.failures.pop(0)
        need = self.estimate(manifest)
        encoder = _Counted(
            self.memory,
            dimensions=manifest.dimensions,
            vocabulary=manifest.vocabulary,
            need=need,
            faults=self.faults,
            capacity=self.capacity,
        )
        self.encoders.append(encoder)
        return encoder

    def forget(self) -> None:
        """Memory comes back as soon as an encoder is closed."""


class _Counted(FakeEncoder):
    """Takes its weights from the fake memory, and gives them back."""

    def __init__(self, memory: FakeMemory, **facts: Any) -> None:
        super().__init__(**facts)
        self._memory = memory
        memory.taken += self.facts.need.weights

    def close(self) -> None:
        super().close()
        self._memory.taken -= self.facts.need.weights

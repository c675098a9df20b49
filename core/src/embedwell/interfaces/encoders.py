"""The device side, shaped so that it could be another process: plain values in, rows out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from msgspec import Struct

from embedwell.interfaces.caches import Need
from embedwell.interfaces.embedding import Tokens
from embedwell.interfaces.models import Manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows: TypeAlias = NDArray[np.float32]


class Batch(Struct, frozen=True):
    """Sequences of one model laid end to end.

    `ids` are little-endian int32, `lengths` the tokens of each sequence (all ≥ 1), `skips` how
    many leading tokens of each pooling leaves out (a prompt's).
    """

    ids: bytes
    lengths: tuple[int, ...]
    skips: tuple[int, ...]


def batch_of(tokens: Tokens, indices: Sequence[int]) -> Batch:
    """These of a request's sequences, in this order."""
    return Batch(
        b"".join(tokens.ids[index] for index in indices),
        tuple(tokens.lengths[index] for index in indices),
        (tokens.skip,) * len(indices),
    )


class Verdict(Struct, frozen=True, kw_only=True):
    """What the checks at a load found; true for the same content, engine and processor again.

    `packed`: a batch costs the sum of its tokens; otherwise longest × count. `single`: one text
    per batch, always. `deviation` is the largest distance (1 − cosine) between packed and single
    vectors in float32, `cosine` the smallest one of a sample text's vector to its vector by the
    untouched float32 model; None where nothing was compared. `fast`: packed products are used.
    `why` is for people.
    """

    dtype: str
    packed: bool
    single: bool = False
    fast: bool = False
    deviation: float | None = None
    cosine: float | None = None
    why: str = ""


class Trial(Struct, frozen=True, kw_only=True):
    """What a load is checked with: sample texts as token ids, or what an earlier check found.

    Without either, random ids stand in for texts.
    """

    samples: Batch | None = None
    known: Verdict | None = None


UNTRIED = Trial()


class EncoderFacts(Struct, frozen=True, kw_only=True):
    """What a loaded encoder says of itself; measured where it could be.

    `batch_tokens` is the largest cost that it wants in one batch.
    """

    device: str
    dimensions: int
    vocabulary: int
    batch_tokens: int
    need: Need
    verdict: Verdict
    outputs: frozenset[str] = frozenset({"dense"})


class DeviceOutOfMemory(Exception):
    """A batch or a load did not fit in the device's memory; nothing is lost."""


class DeviceFailure(Exception):
    """The device is beyond use: no retry can help and the process should end."""


class Encoder(Protocol):
    """A loaded model; every method blocks and is called in a thread."""

    @property
    def facts(self) -> EncoderFacts: ...

    def encode(self, batch: Batch) -> "Rows":
        """C-contiguous float32 `[len(batch.lengths), dimensions]`, before a final Normalize.

        As many threads at a time as the backend says, one where its verdict is `single`. Raises
        DeviceOutOfMemory, DeviceFailure, or anything else for a batch it failed on.
        """

    def close(self) -> None:
        """Drop every tensor; called once."""


class Memory(Struct, frozen=True):
    """Bytes of a device as its driver sees them."""

    total: int
    free: int


class DeviceMemory(Protocol):
    """Measures a device: CUDA, host memory, or a fake."""

    def measure(self) -> Memory:
        """Called on the event loop: it must be quick. Raises OSError where it cannot."""


class Backend(Protocol):
    """Loads snapshots on one device; every method blocks and is called in a thread."""

    @property
    def device(self) -> str: ...

    @property
    def side_by_side(self) -> int:
        """How many batches are to run at a time, of one model or of several."""

    @property
    def dtype(self) -> str:
        """What is asked for, "auto" included; what a model got is in its encoder's facts."""

    @property
    def memory(self) -> DeviceMemory: ...

    def warm(self, model_types: Sequence[str]) -> None:
        """Import what loading these kinds of model will need; unknown kinds are passed over."""

    def check(self) -> None:
        """A small product on the device; raises when the device does not work."""

    def estimate(self, manifest: Manifest) -> Need:
        """Bytes that a load would take."""

    def load(self, path: Path, manifest: Manifest, trial: Trial = UNTRIED) -> Encoder:
        """Raises InvalidModel for a snapshot it cannot serve, DeviceOutOfMemory."""

    def forget(self) -> None:
        """Return freed memory to the device; beside `encode`, `load` and itself, so it is quick."""


class ModelHandle(Protocol):
    """A leased model as the batcher sees it: `hold` keeps it loaded while a batch runs."""

    @property
    def name(self) -> str: ...

    @property
    def encoder(self) -> Encoder: ...

    def hold(self) -> None: ...

    def release(self) -> None: ...

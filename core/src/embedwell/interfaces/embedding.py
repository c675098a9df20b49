"""The request path's values: a call, its tokens, its rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from embedwell.interfaces.models import ModelRef

if TYPE_CHECKING:
    from embedwell.interfaces.encoders import Rows


class EmbeddingCall(Struct, frozen=True, kw_only=True):
    """One request for vectors.

    `texts` are texts, or token lists of the model's own vocabulary. `normalize` None follows the
    model. `timeout` is in seconds.
    """

    ref: ModelRef
    texts: tuple[str, ...] | tuple[tuple[int, ...], ...]
    timeout: float
    prompt_name: str | None = None
    input_type: str | None = None
    truncate: bool = True
    dimensions: int | None = None
    normalize: bool | None = None
    request_id: str = ""
    caller: str | None = None


class Tokens(Struct, frozen=True):
    """Checked sequences: `ids` little-endian int32 each, `truncated` the indices that were cut."""

    ids: tuple[bytes, ...]
    lengths: tuple[int, ...]
    skip: int
    truncated: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.lengths)


class Timings(Struct, frozen=True):
    """Seconds of one request: `queue` until its first batch began, `inference` from then on."""

    tokenize: float
    queue: float
    inference: float
    total: float


class Embeddings(Struct, frozen=True):
    """Rows in input order, float32 `[n, dimensions]`, finite."""

    rows: "Rows"
    tokens: int
    truncated: Sequence[int]
    timings: Timings
    model: str


class Embedder(Protocol):
    """The request path as HTTP, tasks and the command line know it."""

    async def embed(self, call: EmbeddingCall) -> Embeddings:
        """Raises an EmbedwellError; a cancelled call leaves nothing behind."""

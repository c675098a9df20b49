"""What a verification found and how it tells that it goes on: the table and the JSON show these."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from msgspec import Struct


class Check(Struct, frozen=True, kw_only=True):
    """One comparison of all texts' vectors.

    Distances are 1 − cosine: `worst` the largest one, of text number `text` (from 0), `mean`
    their mean, `tolerance` what is allowed; all None where it was skipped and `note` says why.
    """

    name: str
    what: str
    verdict: Literal["holds", "differs", "skipped"]
    worst: float | None = None
    mean: float | None = None
    text: int | None = None
    tolerance: float | None = None
    note: str = ""


class Verification(Struct, frozen=True, kw_only=True):
    """All checks of one model.

    `asked` is the dtype that was wanted, `dtype` what it computes in here and `why` the reason;
    `packed` and `fast` as in a load's verdict. `seconds` include loading it each time.
    """

    format: int
    embedwell: str
    model: str
    source: str
    revision: str
    device: str
    asked: str
    dtype: str
    packed: bool
    fast: bool
    why: str
    texts: int
    tokens: int
    seconds: float
    checks: Sequence[Check]

    @property
    def holds(self) -> bool:
        """Whether no check found a difference beyond its tolerance."""
        return all(check.verdict != "differs" for check in self.checks)


class Progress(Protocol):
    """Hears of each part before it begins."""

    def begin(self, what: str, total: int) -> Callable[[int], None]:
        """What is done to `total` texts; the result is called with every few that were."""

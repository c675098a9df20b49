"""What loads took and what was found at them, so that the next one need not measure again."""

from typing import Self

import msgspec
from msgspec import Struct

from embedwell.interfaces.encoders import Verdict
from embedwell.state.database import Database

MOST = 10_000

PUT = (  # `peak` is a column that an earlier version read
    "INSERT INTO costs (digest, dtype, device, engine, weights, peak, seconds, verdict, measured) "
    "VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?) ON CONFLICT (digest, dtype, device, engine) DO UPDATE SET "
    "weights = excluded.weights, peak = excluded.peak, seconds = excluded.seconds, "
    "verdict = excluded.verdict, measured = excluded.measured"
)
DROP = "DELETE FROM costs WHERE digest = ? AND dtype = ? AND device = ? AND engine = ?"
ALL = (
    "SELECT digest, dtype, device, engine, weights, seconds, verdict, measured FROM costs "
    "ORDER BY measured"
)


class CostKey(Struct, frozen=True):
    """What a measurement depends on: the content, and what loaded it where.

    `engine` names the version of whatever else changes the result.
    """

    digest: str
    dtype: str
    device: str
    engine: str

    @property
    def parts(self) -> tuple[str, str, str, str]:
        return (self.digest, self.dtype, self.device, self.engine)


class Cost(Struct, frozen=True):
    """Bytes of the weights, seconds of the load.

    `verdict` is what the load's checks found, None where that is not known.
    """

    weights: int
    seconds: float
    verdict: Verdict | None = None


class Costs:
    """Made by `open`; loop only. Of more than 10,000, those measured longest ago leave."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._costs: dict[CostKey, Cost] = {}  # measured longest ago first
        self._measured = 0  # counts up: a clock could go back

    @classmethod
    async def open(cls, database: Database) -> Self:
        """With all that was measured before."""
        costs = cls(database)
        for *key, weights, seconds, verdict, measured in await database.read(ALL):
            costs._costs[CostKey(*key)] = Cost(weights, seconds, _verdict(verdict))
            costs._measured = measured
        return costs

    def get(self, key: CostKey) -> Cost | None:
        return self._costs.get(key)

    def put(self, key: CostKey, cost: Cost) -> None:
        """The newest measurement replaces an earlier one."""
        self._measured += 1
        self._costs.pop(key, None)
        self._costs[key] = cost
        verdict = msgspec.json.encode(cost.verdict).decode()
        values = (*key.parts, cost.weights, cost.seconds, verdict, self._measured)
        self._database.execute(PUT, values, ("costs", *key.parts))
        if len(self._costs) > MOST:
            oldest = next(iter(self._costs))
            del self._costs[oldest]
            self._database.execute(DROP, oldest.parts, ("costs", *oldest.parts))


def _verdict(text: str | None) -> Verdict | None:
    """None, too, for what another version wrote in another form: it is then found anew."""
    try:
        return msgspec.json.decode(text or "null", type=Verdict | None)
    except msgspec.DecodeError:
        return None

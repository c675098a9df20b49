"""A strategy of the server as a policy: asked as the server's cache asks."""

from collections.abc import Sequence

from embedwell import Admit, CacheState, CacheStrategy, Entry, Wanted
from embedwell.cache.usage import HALF_LIFE, Usage
from tests.benchmarks.cache.loads import Model


class Served:
    """Shows a strategy the residents, evicts what it names, and asks again until it admits."""

    def __init__(self, strategy: CacheStrategy, capacity: int) -> None:
        self._strategy = strategy
        self._capacity = capacity
        self._half_life = float(getattr(strategy, "half_life", HALF_LIFE))
        self._usages: dict[str, Usage] = {}  # of models that left, too
        self._residents: dict[str, _Resident] = {}

    def hit(self, model: Model, now: float) -> None:
        self._residents[model.name].last_used = now
        self._count(model, now)

    def make_room(self, model: Model, now: float) -> Sequence[str]:
        wanted = Wanted(model.name, model.name, model.need, now)
        gone: list[str] = []
        while True:
            decision = self._strategy.decide(wanted, self._state(wanted, now))
            assert isinstance(decision, Admit), f"nothing is busy, yet {decision}"
            if not decision.evict:
                return gone
            for key in decision.evict:
                del self._residents[key]
                gone.append(key)

    def loaded(self, model: Model, began: float, now: float) -> None:
        self._residents[model.name] = _Resident(model, now, now - began)
        self._count(model, now)

    def _count(self, model: Model, now: float) -> None:
        usage = self._usages.get(model.name, Usage())
        self._usages[model.name] = usage.touched(now, self._half_life)

    def _state(self, wanted: Wanted, now: float) -> CacheState:
        entries = tuple(self._entry(resident, now) for resident in self._residents.values())
        return CacheState(self._capacity, entries, (wanted,), now, now)

    def _entry(self, resident: "_Resident", now: float) -> Entry:
        name = resident.model.name
        return Entry(
            key=name,
            tag=name,
            need=resident.model.need,
            state="ready",
            leases=0,
            last_used=resident.last_used,
            loaded_at=resident.loaded_at,
            rate=self._usages[name].faded(now, self._half_life),
            load_seconds=resident.load_seconds,
        )


class _Resident:
    def __init__(self, model: Model, now: float, load_seconds: float) -> None:
        self.model = model
        self.loaded_at = self.last_used = now
        self.load_seconds = load_seconds

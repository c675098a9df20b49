"""The policies of the literature, for whole models: every model asked for must come in."""

from collections.abc import Callable, Sequence

from tests.benchmarks.cache.loads import Case, Model
from tests.benchmarks.cache.simulator import held


class Ranked:
    """Evicts the lowest rank until the wanted model fits; below are the ranks."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._present: dict[str, Model] = {}
        self._ranks: dict[str, float] = {}
        self._uses: dict[str, int] = {}
        self._aged = 0.0  # the rank of who left last

    def hit(self, model: Model, now: float) -> None:
        self._uses[model.name] += 1
        self._ranks[model.name] = self.rank(model, now)

    def make_room(self, model: Model, now: float) -> Sequence[str]:
        gone: list[str] = []
        while not self._fits(model):
            victim = min(self._present, key=self._ranks.__getitem__)
            self._aged = self._ranks[victim]
            self._drop(victim)
            gone.append(victim)
        return gone

    def loaded(self, model: Model, began: float, now: float) -> None:
        self._present[model.name] = model
        self._uses[model.name] = 1
        self._ranks[model.name] = self.rank(model, now)

    def rank(self, model: Model, now: float) -> float:
        """What keeps it; the lowest leaves."""
        raise NotImplementedError

    def _drop(self, name: str) -> None:
        del self._present[name], self._ranks[name], self._uses[name]

    def _fits(self, model: Model) -> bool:
        return held([*self._present.values(), model]) <= self._capacity


class LruByBytes(Ranked):
    """Least recently used."""

    def rank(self, model: Model, now: float) -> float:
        return now


class LfuDa(Ranked):
    """Least frequently used with dynamic aging: uses since the load + rank of who left last."""

    def rank(self, model: Model, now: float) -> float:
        return self._aged + self._uses[model.name]


class Gdsf(Ranked):
    """GreedyDual-Size with frequency: uses × cost ÷ size + rank of who left last."""

    def rank(self, model: Model, now: float) -> float:
        return self._aged + self._uses[model.name] * density(model)


def density(model: Model) -> float:
    """Reload seconds a gigabyte."""
    return model.seconds / model.need.weights * 1e9


class Sieve:
    """A queue in order of loading; a hand goes from old to new, sparing once who was used."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._queue: list[Model] = []  # oldest first
        self._used: set[str] = set()
        self._hand = 0

    def hit(self, model: Model, now: float) -> None:
        self._used.add(model.name)

    def make_room(self, model: Model, now: float) -> Sequence[str]:
        gone: list[str] = []
        while held([*self._queue, model]) > self._capacity:
            self._hand %= len(self._queue)
            name = self._queue[self._hand].name
            if name in self._used:
                self._used.discard(name)
                self._hand += 1
            else:
                del self._queue[self._hand]
                gone.append(name)
        return gone

    def loaded(self, model: Model, began: float, now: float) -> None:
        self._queue.append(model)


class CostBelady:
    """Knows the future: lowest cost ÷ size ÷ requests until its next use leaves.

    Whoever then was not needed stays. Greedy, and no bound: the best choice is NP-hard.
    """

    def __init__(self, case: Case) -> None:
        self._capacity = case.capacity
        self._next = _next_uses([name for _, name in case.requests])
        self._at = -1
        self._due: dict[str, float] = {}
        self._present: dict[str, Model] = {}

    def hit(self, model: Model, now: float) -> None:
        self._at += 1
        self._due[model.name] = self._next[self._at]

    def make_room(self, model: Model, now: float) -> Sequence[str]:
        self._at += 1
        order = sorted(self._present.values(), key=self._worth)
        gone = choose(order, lambda left: held([*left, model]) <= self._capacity)
        for victim in gone:
            del self._present[victim]
        return gone

    def loaded(self, model: Model, began: float, now: float) -> None:
        self._present[model.name] = model
        self._due[model.name] = self._next[self._at]

    def _worth(self, model: Model) -> float:
        return density(model) / (self._due[model.name] - self._at)


def choose(order: Sequence[Model], fits: Callable[[Sequence[Model]], bool]) -> list[str]:
    """The first of `order` until the others fit, less those that then were not needed."""
    count = 0
    while not fits(order[count:]):
        count += 1
    gone = list(order[:count])
    staying = list(order[count:])
    for model in reversed(order[:count]):
        if fits([*staying, model]):
            staying.append(model)
            gone.remove(model)
    return [model.name for model in gone]


def _next_uses(names: Sequence[str]) -> list[float]:
    """For each request, the place of its model's next one."""
    seen: dict[str, int] = {}
    uses = [float("inf")] * len(names)
    for at in range(len(names) - 1, -1, -1):
        uses[at] = seen.get(names[at], float("inf"))
        seen[names[at]] = at
    return uses

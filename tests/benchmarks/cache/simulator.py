"""One device, one request after the other: who is loaded when, and what that takes."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from tests.benchmarks.cache.loads import Case, Model


class Policy(Protocol):
    """Told of every request; keeps its own record of what is loaded."""

    def hit(self, model: Model, now: float) -> None:
        """A request found it loaded."""

    def make_room(self, model: Model, now: float) -> Sequence[str]:
        """Who leaves for it, in order; it is not loaded and fits an empty device."""

    def loaded(self, model: Model, began: float, now: float) -> None:
        """Its load is done and the request served."""


class Change(Struct, frozen=True):
    """One load, and who left for it."""

    loaded: str
    evicted: tuple[str, ...]


class Outcome(Struct, frozen=True):
    """What a policy made of a case."""

    reload_seconds: float
    changes: Sequence[Change]


def simulate(case: Case, policy: Policy) -> Outcome:
    """Serves in the order of arrival; a request takes no time but its model's load.

    Raises AssertionError if a policy lets go of what is not loaded, or holds more than fits.
    """
    present: dict[str, Model] = {}
    clock, total = 0.0, 0.0
    changes: list[Change] = []
    for arrival, name in case.requests:
        clock = max(clock, arrival)
        model = case.models[name]
        if name in present:
            policy.hit(model, clock)
            continue
        evicted = tuple(policy.make_room(model, clock))
        for victim in evicted:
            del present[victim]
        present[name] = model
        assert held(list(present.values())) <= case.capacity, "more than the device holds"
        began, clock = clock, clock + model.seconds
        total += model.seconds
        policy.loaded(model, began, clock)
        changes.append(Change(name, evicted))
    return Outcome(total, changes)


def held(models: Sequence[Model]) -> int:
    """Bytes: all weights and the largest peak."""
    needs = [model.need for model in models]
    return sum(need.weights for need in needs) + max((need.peak for need in needs), default=0)

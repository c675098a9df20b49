"""The states of a model in the cache, and the only ways between them."""

from enum import Enum


class State(Enum):
    """ABSENT waits to be admitted; RESERVED and on hold memory, FAILED none."""

    ABSENT = "absent"
    RESERVED = "reserved"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    UNLOADING = "unloading"
    FAILED = "failed"


ALLOWED: dict[State, frozenset[State]] = {
    State.ABSENT: frozenset({State.RESERVED, State.FAILED}),
    State.RESERVED: frozenset({State.LOADING, State.FAILED}),
    State.LOADING: frozenset({State.READY, State.FAILED}),
    State.READY: frozenset({State.DRAINING, State.UNLOADING}),
    State.DRAINING: frozenset({State.READY, State.UNLOADING}),
    State.UNLOADING: frozenset({State.ABSENT}),
    State.FAILED: frozenset({State.ABSENT}),
}
HOLDING = frozenset({State.RESERVED, State.LOADING, State.READY, State.DRAINING, State.UNLOADING})
COMING = frozenset({State.ABSENT, State.RESERVED, State.LOADING})
LOADED = frozenset({State.READY, State.DRAINING, State.UNLOADING})


def step(now: State, then: State) -> State:
    """`then`, if it may follow; raises AssertionError: anything else is a bug of ours."""
    assert then in ALLOWED[now], f"{now.value} cannot become {then.value}"
    return then

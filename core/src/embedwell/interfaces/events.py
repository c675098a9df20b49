"""What happened, for observers: frozen, with durations in seconds; `at` is the app's clock."""

from typing import Literal

from msgspec import Struct

Cause = Literal["room", "memory", "others", "keep_alive", "strategy", "cleared", "replaced"]


class Event(Struct, frozen=True, kw_only=True, tag=True):
    """The base; `at` is seconds of the app's monotonic clock."""

    at: float


class RequestFinished(Event, frozen=True, kw_only=True, tag=True):
    """One HTTP request was answered.

    `model` is the canonical name of what served it, else what the client sent, cut and printable;
    empty where none was asked for. `inputs` and `tokens` are those of the answer.
    """

    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    model: str = ""
    caller: str | None = None
    inputs: int = 0
    tokens: int = 0


class Embedded(Event, frozen=True, kw_only=True, tag=True):
    """One embedding call ended; `outcome` is "ok", "cancelled" or an error's code.

    `model` is its canonical name where it is `known`, that is where a source has it.
    """

    request_id: str
    model: str
    known: bool
    outcome: str
    inputs: int
    tokens: int
    truncated: int
    tokenize_seconds: float
    queue_seconds: float
    inference_seconds: float
    seconds: float
    caller: str | None = None


class BatchRun(Event, frozen=True, kw_only=True, tag=True):
    """One forward pass ended; `cost` ≥ `tokens` is what the device computed, padding included."""

    model: str
    items: int
    requests: int
    tokens: int
    cost: int
    seconds: float
    outcome: str  # "ok", "out_of_memory", "error", "timeout", "fatal"


class ModelLoaded(Event, frozen=True, kw_only=True, tag=True):
    """A model was loaded, in so many seconds without what it waited for.

    Bytes: `weights` stay, `measured` has its largest batches', too.
    """

    model: str
    key: str
    seconds: float
    estimated: int
    measured: int
    weights: int


class LoadFailed(Event, frozen=True, kw_only=True, tag=True):
    """A load failed or found no room, so many seconds after it was asked for; an error's code."""

    model: str
    key: str
    seconds: float
    code: str
    message: str


class ModelEvicted(Event, frozen=True, kw_only=True, tag=True):
    """A model left; `cause` is one of a few, `reason` says it to people."""

    model: str
    key: str
    bytes: int
    cause: Cause
    reason: str


class WorkerReplaced(Event, frozen=True, kw_only=True, tag=True):
    """A forward pass did not return in time, and its thread was given up."""

    device: str
    lost: int


class TaskFinished(Event, frozen=True, kw_only=True, tag=True):
    """Background work ended: done, failed or cancelled; `key` says what it was about."""

    id: str
    kind: str
    key: str
    status: str
    seconds: float
    error: str | None = None

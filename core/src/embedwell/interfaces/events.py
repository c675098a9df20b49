"""What happened, for observers: frozen, with durations in seconds; `at` is the app's clock."""

from msgspec import Struct


class Event(Struct, frozen=True, kw_only=True, tag=True):
    """The base; `at` is seconds of the app's monotonic clock."""

    at: float


class RequestFinished(Event, frozen=True, kw_only=True, tag=True):
    """One HTTP request was answered; `model` is empty where none was asked for."""

    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    model: str = ""
    caller: str | None = None


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
    model: str
    key: str
    seconds: float
    estimated: int
    measured: int


class LoadFailed(Event, frozen=True, kw_only=True, tag=True):
    model: str
    key: str
    seconds: float
    code: str
    message: str


class ModelEvicted(Event, frozen=True, kw_only=True, tag=True):
    model: str
    key: str
    bytes: int
    reason: str


class WorkerReplaced(Event, frozen=True, kw_only=True, tag=True):
    """A forward pass did not return in time, and its thread was given up."""

    device: str
    lost: int


class TaskFinished(Event, frozen=True, kw_only=True, tag=True):
    id: str
    kind: str
    key: str
    status: str
    seconds: float
    error: str | None = None

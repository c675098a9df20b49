"""What the server says of itself, as values that HTTP and the command line both show."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

ModelState = Literal["available", "loading", "ready", "draining", "failed"]
ResidentState = Literal["loading", "ready", "draining", "failed"]
WarmingStatus = Literal["ready", "queued", "not_found", "skipped"]


class ModelCard(Struct, frozen=True, kw_only=True):
    """A model in the listing; `bytes` as loaded, or estimated. `problem` says why it failed.

    `revisions` are those that can be asked for by `name@revision`, the one that serves first.
    """

    name: str
    source: str
    shadowed: Sequence[str]
    revision: str
    revisions: Sequence[str] = ()
    state: ModelState
    created: int
    dimensions: int | None = None
    max_input_tokens: int | None = None
    prompts: Mapping[str, str] = {}
    bytes: int | None = None
    problem: str | None = None
    root: str | None = None  # of an alias, the tag that it stands for


class PluginInfo(Struct, frozen=True, kw_only=True):
    """One installed plugin: an entry point of a distribution, and the specs it registered."""

    name: str
    distribution: str
    version: str
    state: Literal["active", "unused", "failed"]
    provides: Sequence[str] = ()  # "source huggingface", "cache fixed_size", …
    summary: str = ""
    problem: str | None = None


class Readiness(Struct, frozen=True):
    """Whether a request would be served now, and if not why."""

    ready: bool
    reason: str = ""


class Running(Struct, frozen=True, kw_only=True):
    """How a loaded model computes, and why so.

    `cosine` is the smallest one of a sample text's vector to its vector by the plain float32 model.
    """

    model: str
    dtype: str
    packed: bool
    cosine: float | None
    why: str


class Info(Struct, frozen=True, kw_only=True):
    """The server at a glance; `dtype` is what is asked for, `running` says what each model got."""

    version: str
    device: str
    dtype: str
    strategy: str
    sources: Sequence[str]
    loaded: Sequence[str]
    running: Sequence[Running]
    queued_tokens: int
    limits: Mapping[str, Any]
    event_loop: str  # "uvloop" or "asyncio"
    libraries: Mapping[str, str]


class ResidentInfo(Struct, frozen=True, kw_only=True):
    """One model of the cache; `bytes` as measured or reserved, times in Unix seconds.

    `dtype` is what it computes in, while it loads what is asked for; `why` says why so, and
    `packed` whether its batches cost the sum of their tokens.
    """

    tag: str
    revision: str
    source: str
    device: str
    dtype: str
    bytes: int
    state: ResidentState
    leases: int
    requests: int
    last_used: float
    load_seconds: float
    pinned: bool
    packed: bool | None = None
    why: str = ""


class MemoryInfo(Struct, frozen=True):
    """Bytes of the device: by its driver total, used and free; `reserved` for models."""

    total: int
    used: int
    free: int
    reserved: int


class CacheCounters(Struct, frozen=True):
    """Since the start: requests that found their model loaded or not, and what came of it."""

    hits: int = 0
    misses: int = 0
    loads: int = 0
    evictions: int = 0
    load_failures: int = 0


class CacheStatus(Struct, frozen=True, kw_only=True):
    """The model cache of one device."""

    strategy: str
    settings: Mapping[str, Any]
    device: str
    memory: MemoryInfo
    models: Sequence[ResidentInfo]
    counters: CacheCounters


class Cleared(Struct, frozen=True):
    """What a clear came to: tags that left at once, and those that leave after their requests."""

    cleared: Sequence[str]
    draining: Sequence[str]


class Deleted(Struct, frozen=True, kw_only=True):
    """A model that is no longer served; `draining` while requests still hold it.

    `revision` served the tag; `revisions` are all that are gone.
    """

    model: str
    revision: str
    revisions: Sequence[str] = ()
    source: str
    state: Literal["deleted", "draining"]
    deleted: bool = True


class Warming(Struct, frozen=True, kw_only=True):
    """One model of a preload, when it was asked for."""

    model: str
    status: WarmingStatus


class QueueInfo(Struct, frozen=True, kw_only=True):
    """What was accepted and is not answered yet, waiting or in a forward pass.

    `tokens` count from tokenising on, the rest once the model is loaded.
    """

    tokens: int
    inputs: int
    requests: int
    oldest_seconds: float


class Status(Struct, frozen=True, kw_only=True):
    """What a plugin may ask at any time; `requests` are all HTTP requests under way."""

    info: Info
    cache: CacheStatus
    queue: QueueInfo
    requests: int

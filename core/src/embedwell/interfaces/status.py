"""What the server says of itself, as values that HTTP and the command line both show."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

ModelState = Literal["available", "loading", "ready", "draining", "failed"]


class ModelCard(Struct, frozen=True, kw_only=True):
    """A model in the listing; `bytes` as loaded, or estimated. `problem` says why it failed."""

    name: str
    source: str
    shadowed: Sequence[str]
    revision: str
    state: ModelState
    created: int
    dimensions: int | None = None
    max_input_tokens: int | None = None
    prompts: Mapping[str, str] = {}
    bytes: int | None = None
    problem: str | None = None


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


class Info(Struct, frozen=True, kw_only=True):
    """The server at a glance."""

    version: str
    device: str
    dtype: str
    strategy: str
    sources: Sequence[str]
    loaded: Sequence[str]
    queued_tokens: int
    limits: Mapping[str, Any]
    libraries: Mapping[str, str]

"""What the server says of itself: model cards, and the server at a glance."""

import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msgspec import structs

from embedwell import loops
from embedwell.cache.model_cache import ModelCache
from embedwell.cache.resident import Resident
from embedwell.cache.states import State
from embedwell.config.schema import Config
from embedwell.errors import InvalidModel
from embedwell.interfaces.encoders import Backend, Verdict
from embedwell.interfaces.models import Snapshot
from embedwell.interfaces.services import Listed
from embedwell.interfaces.status import (
    CacheStatus,
    Info,
    ModelCard,
    ModelState,
    ResidentInfo,
    ResidentState,
    Running,
)
from embedwell.loader.plugins import Registered
from embedwell.models.manifests import Manifests

STATES: dict[State, ResidentState] = {
    State.ABSENT: "loading",
    State.RESERVED: "loading",
    State.LOADING: "loading",
    State.READY: "ready",
    State.DRAINING: "draining",
    State.UNLOADING: "draining",
    State.FAILED: "failed",
}


async def card(
    listed: Listed, manifests: Manifests, residents: Sequence[Resident] = ()
) -> ModelCard:
    """A model's row in the listing; one whose files cannot be read is shown as failed."""
    snapshot = listed.snapshot
    name, root = listed.alias or snapshot.key.name, listed.alias and snapshot.key.name
    resident = _resident(snapshot, residents)
    state: ModelState = STATES[resident.state] if resident else "available"
    try:
        manifest = await manifests.of(snapshot)
    except InvalidModel as error:
        return _bare(listed, error.message)
    size = resident.need.weights if resident and resident.encoder else manifest.tensors * 4
    return ModelCard(
        name=name,
        root=root,
        source=snapshot.key.source,
        shadowed=listed.shadowed,
        revision=snapshot.key.revision,
        revisions=listed.revisions,
        state=state,
        created=manifest.created,
        dimensions=manifest.dimensions,
        max_input_tokens=manifest.max_tokens,
        prompts=manifest.prompts,
        bytes=size,
        problem=resident.error.message if resident and resident.error else None,
    )


def _resident(snapshot: Snapshot, residents: Sequence[Resident]) -> Resident | None:
    return next((r for r in residents if r.snapshot.key == snapshot.key), None)


def _bare(listed: Listed, problem: str) -> ModelCard:
    key = listed.snapshot.key
    return ModelCard(
        name=listed.alias or key.name,
        root=listed.alias and key.name,
        source=key.source,
        shadowed=listed.shadowed,
        revision=key.revision,
        revisions=listed.revisions,
        state="failed",
        created=0,
        problem=problem,
    )


def info(
    config: Config,
    backend: Backend,
    sources: Sequence[str],
    residents: Sequence[Resident],
    queued_tokens: int,
) -> Info:
    """The server at a glance."""
    return Info(
        version=_version("embedwell"),
        device=backend.device,
        dtype=backend.dtype,
        strategy=config.cache.strategy,
        sources=sources,
        loaded=[r.tag for r in residents if r.state in (State.READY, State.DRAINING)],
        running=[_running(r.tag, r.encoder.facts.verdict) for r in residents if r.encoder],
        queued_tokens=queued_tokens,
        limits={
            "max_inputs": config.batching.max_inputs,
            "max_queued_tokens": config.batching.max_queued_tokens,
            "max_body_mb": config.server.max_body_mb,
            "request_timeout": config.server.request_timeout,
        },
        event_loop=loops.running(),
        libraries=libraries(),
    )


def _running(tag: str, verdict: Verdict) -> Running:
    return Running(
        model=tag,
        dtype=verdict.dtype,
        packed=verdict.packed,
        cosine=verdict.cosine,
        why=verdict.why,
    )


def cache_status(
    config: Config,
    chosen: Registered,
    backend: Backend,
    cache: ModelCache,
    *,
    now: float,
    wall: float,
) -> CacheStatus:
    """The cache at a glance; `now` is of the monotonic clock, `wall` Unix seconds."""
    shared = ("safety_margin_gb", "keep_alive", "pinned")
    settings = {name: getattr(config.cache, name) for name in shared}
    return CacheStatus(
        strategy=config.cache.strategy,
        settings=settings | structs.asdict(chosen.config),
        device=backend.device,
        memory=cache.memory(),
        models=[_resident_info(r, backend, now, wall) for r in cache.residents()],
        counters=cache.tally,
    )


def _resident_info(resident: Resident, backend: Backend, now: float, wall: float) -> ResidentInfo:
    key = resident.snapshot.key
    verdict = resident.encoder.facts.verdict if resident.encoder else None
    return ResidentInfo(
        tag=key.name,
        revision=key.revision,
        source=key.source,
        device=backend.device,
        dtype=verdict.dtype if verdict else backend.dtype,
        bytes=resident.need.weights,
        state=STATES[resident.state],
        leases=resident.leases,
        requests=resident.requests,
        last_used=round(wall - (now - resident.last_used), 3),
        load_seconds=round(resident.load_seconds, 3),
        pinned=resident.pinned,
        packed=verdict.packed if verdict else None,
        why=verdict.why if verdict else "",
    )


def engine() -> str:
    """What a load's cost, and what its checks find, depend on beside the device's name."""
    parts = ("embedwell", "torch", "transformers")
    return ", ".join([*(f"{name} {_version(name)}" for name in parts), processor()])


def processor() -> str:
    """The processor's name as the system tells it; "" where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor()  # which starts a process to find out


def libraries() -> Mapping[str, str]:
    """Versions of what the vectors depend on, without importing any of it."""
    names = ("torch", "transformers", "tokenizers", "numpy")
    return {"python": platform.python_version()} | {name: _version(name) for name in names}


@cache
def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"

"""What the server says of itself: model cards, and the server at a glance."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from embedwell.cache.resident import Resident
from embedwell.cache.states import State
from embedwell.config.schema import Config
from embedwell.errors import InvalidModel
from embedwell.interfaces.encoders import Backend
from embedwell.interfaces.models import Snapshot
from embedwell.interfaces.services import Listed
from embedwell.interfaces.status import Info, ModelCard, ModelState
from embedwell.models.manifests import Manifests

STATES: dict[State, ModelState] = {
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
    resident = _resident(snapshot, residents)
    state: ModelState = STATES[resident.state] if resident else "available"
    try:
        manifest = await manifests.of(snapshot)
    except InvalidModel as error:
        return _bare(listed, error.message)
    size = resident.need.weights if resident and resident.encoder else manifest.tensors * 4
    return ModelCard(
        name=snapshot.key.name,
        source=snapshot.key.source,
        shadowed=listed.shadowed,
        revision=snapshot.key.revision,
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
        name=key.name,
        source=key.source,
        shadowed=listed.shadowed,
        revision=key.revision,
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
        queued_tokens=queued_tokens,
        limits={
            "max_inputs": config.batching.max_inputs,
            "max_queued_tokens": config.batching.max_queued_tokens,
            "max_body_mb": config.server.max_body_mb,
            "request_timeout": config.server.request_timeout,
        },
        libraries=libraries(),
    )


def libraries() -> Mapping[str, str]:
    """Versions of what the vectors depend on, without importing any of it."""
    names = ("torch", "transformers", "tokenizers", "numpy")
    return {"python": platform.python_version()} | {name: _version(name) for name in names}


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"

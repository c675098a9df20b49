"""The model cache: warm it, look into it, clear it."""

from collections.abc import Sequence

from embedwell.http.core import Core
from embedwell.http.wire import ClearRequest, PreloadReply, PreloadRequest, TaskBody
from embedwell.interfaces.models import ModelRef
from embedwell.interfaces.routes import Reply, Request, Route
from embedwell.interfaces.status import CacheStatus, Cleared


def routes(core: Core) -> Sequence[Route]:
    """Three routes below /embeddings."""
    return [_preload(core), _status(core), _clear(core)]


def _preload(core: Core) -> Route:
    async def preload(request: Request) -> Reply:
        asked: PreloadRequest = request.body
        task, models = await core.preload(_refs(core, asked.models), asked.max_models)
        headers = {"location": f"/tasks/{task.id}"}
        return Reply(status=202, body=PreloadReply(TaskBody.of(task), models), headers=headers)

    return Route(
        method="POST",
        path="/embeddings/preload",
        handler=preload,
        access="manage",
        summary="Load models in the background, in order; without names the most used ones",
        body=PreloadRequest,
        replies={202: PreloadReply},
        headers={"location": "The path of the task"},
        errors=("SOURCE_ERROR",),
    )


def _status(core: Core) -> Route:
    async def status(request: Request) -> Reply:
        return Reply(body=core.cache_status())

    return Route(
        method="GET",
        path="/embeddings/cache/status",
        handler=status,
        access="manage",
        summary="The loaded models, the device's memory, and what the cache did",
        replies={200: CacheStatus},
    )


def _clear(core: Core) -> Route:
    async def clear(request: Request) -> Reply:
        asked: ClearRequest = request.body
        return Reply(body=await core.clear(_refs(core, asked.models)))

    return Route(
        method="POST",
        path="/embeddings/cache/clear",
        handler=clear,
        access="manage",
        summary="Unload models: idle ones now, others when their requests end",
        body=ClearRequest,
        replies={200: Cleared},
    )


def _refs(core: Core, names: Sequence[str] | None) -> Sequence[ModelRef] | None:
    return None if names is None else [core.parse_tag(name) for name in names]

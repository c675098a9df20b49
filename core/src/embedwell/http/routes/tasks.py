"""Background work: listed, cancelled, forgotten."""

from collections.abc import Sequence

from embedwell.http.core import Core
from embedwell.http.wire import TaskBody, TaskList
from embedwell.interfaces.routes import Reply, Request, Route


def routes(core: Core) -> Sequence[Route]:
    """Three routes below /tasks."""

    async def listing(request: Request) -> Reply:
        return Reply(body=TaskList([TaskBody.of(task) for task in core.tasks.list()]))

    async def one(request: Request) -> Reply:
        return Reply(body=core.tasks.get(request.args["id"]))

    async def end(request: Request) -> Reply:
        task = core.tasks.get(request.args["id"])
        if task.finished is None:
            return Reply(status=202, body=await core.tasks.cancel(task.id))
        core.tasks.remove(task.id)
        return Reply(status=204, body=None)

    return [
        Route(
            method="GET",
            path="/tasks",
            handler=listing,
            access="manage",
            summary="Background work of the last seven days, newest first",
            replies={200: TaskList},
        ),
        Route(
            method="GET",
            path="/tasks/<id>",
            handler=one,
            access="manage",
            summary="How one task stands",
            replies={200: TaskBody},
        ),
        Route(
            method="DELETE",
            path="/tasks/<id>",
            handler=end,
            access="manage",
            summary="Cancel a task that has not ended, forget one that has",
            replies={202: TaskBody, 204: None},
            errors=("CONFLICT",),
        ),
    ]

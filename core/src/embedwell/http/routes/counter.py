"""How often a model was asked for, day by day."""

from collections.abc import Sequence

from embedwell.errors import ModelNotFound
from embedwell.http.core import Core
from embedwell.interfaces.routes import Reply, Request, Route


def routes(core: Core) -> Sequence[Route]:
    """One route; a source or a revision in its tag makes no difference."""

    async def days(request: Request) -> Reply:
        name = core.canonical(core.parse_tag(request.args["tag"]))
        found = core.counters.days(name)
        if found is None:  # it may have come without having been listed yet
            await core.registry.models()
            found = core.counters.days(name)
        if found is None:
            raise ModelNotFound(name, "; GET /models lists those at hand")
        return Reply(body=found, model=name)

    return [
        Route(
            method="GET",
            path="/embeddings/counter/<tag>",
            handler=days,
            access="embed",
            summary="Requests for a model by UTC day, from the day it appeared until today",
            replies={200: dict[str, int]},
        )
    ]

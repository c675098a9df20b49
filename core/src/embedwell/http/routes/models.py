"""The models at hand: listed without asking the network, and deleted."""

from collections.abc import Sequence

from embedwell.http.core import Core
from embedwell.http.wire import Model, ModelList
from embedwell.interfaces.routes import Reply, Request, Route
from embedwell.interfaces.status import Deleted


def routes(core: Core) -> Sequence[Route]:
    """The listing, one of its rows, and its end."""

    async def listing(request: Request) -> Reply:
        rows = [await core.card(listed) for listed in await core.registry.models()]
        return Reply(body=ModelList([Model.of(card) for card in rows]))

    async def one(request: Request) -> Reply:
        listed = await core.registry.describe(core.parse_tag(request.args["tag"]))
        card = await core.card(listed)
        return Reply(body=Model.of(card), model=card.name)

    async def delete(request: Request) -> Reply:
        deleted = await core.delete(core.parse_tag(request.args["tag"]))
        return Reply(body=deleted, model=deleted.model)

    return [
        Route(
            method="GET",
            path="/models",
            handler=listing,
            access="embed",
            summary="The complete local models, one row per tag",
            replies={200: ModelList},
        ),
        Route(
            method="GET",
            path="/models/<tag>",
            handler=one,
            access="embed",
            summary="One model, from local state",
            replies={200: Model},
            errors=("SOURCE_ERROR",),
        ),
        Route(
            method="DELETE",
            path="/models/<tag>",
            handler=delete,
            access="manage",
            summary="Delete a model in the source that serves it; requests in flight finish",
            replies={200: Deleted},
            errors=("CONFLICT", "SOURCE_ERROR"),
        ),
    ]

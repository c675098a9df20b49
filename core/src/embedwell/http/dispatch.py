"""One matched request to its handler: deadline, query, body, then the handler's Reply."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from embedwell.config.schema import Server
from embedwell.errors import BadRequest
from embedwell.http import body, deadline
from embedwell.http.asgi import Scope, has_body
from embedwell.http.client import Client
from embedwell.http.context import exchange, matched
from embedwell.http.decode import decode, has_required
from embedwell.http.middleware.admission import body_limit
from embedwell.http.middleware.drain import Traffic
from embedwell.http.table import TAG
from embedwell.interfaces.routes import Reply, Request, Route

MAX_FIELDS = 100
GRACE = 0.25  # seconds: a handler that keeps the deadline itself is the first to say so


class Dispatcher:
    """Runs handlers; everything they raise goes to the caller."""

    def __init__(
        self,
        server: Server,
        clock: Callable[[], float],
        routes: Sequence[Route],
        traffic: Traffic,
    ) -> None:
        self._server = server
        self._traffic = traffic
        self._clock = clock
        self._max_body = int(server.max_body_mb * 1_000_000)
        self._decoders = {
            route.body: msgspec.json.Decoder(route.body) for route in routes if route.body
        }
        self._empty = {body: body() for body in self._decoders if not has_required(body)}

    async def __call__(self, scope: Scope, client: Client) -> Reply:
        """The handler's Reply, its model noted; raises EmbedwellError or whatever it raised."""
        route = matched(scope).route
        assert route is not None
        async with self._traffic.until_cut(stream=route.stream):
            return await self._answer(scope, client)

    async def _answer(self, scope: Scope, client: Client) -> Reply:
        state, match = exchange(scope), matched(scope)
        assert state.head is not None
        assert match.route is not None
        limit = deadline.limit(scope, self._longest(match.route))
        query = parse_query(scope["query_string"])
        content = await self._body(scope, client)
        state.model = _asked_for(content, match.args)
        request = Request(
            head=state.head,
            args=match.args,
            query=query,
            body=content,
            request_id=state.request_id,
            timeout=deadline.left(limit, self._clock() - state.started),
            caller=state.caller,
        )
        reply = await _in_time(match.route, request, limit)
        state.model = reply.model or state.model
        state.inputs, state.tokens = reply.inputs, reply.tokens
        return reply

    def _longest(self, route: Route) -> float:
        """Seconds; a stream has only the limit that its client sets, and its handler's own."""
        return math.inf if route.stream else self._server.request_timeout

    async def _body(self, scope: Scope, client: Client) -> Any:
        route = matched(scope).route
        assert route is not None
        limit, timeout = body_limit(route, self._max_body), self._server.body_timeout
        if route.stream:
            body.check_encoding(scope)
            return body.Stream(client, limit, timeout)
        if route.body is None:
            return None
        if route.body in self._empty and not has_body(scope):
            return self._empty[route.body]
        body.check_type(scope)
        async with self._traffic.while_it_comes():
            content = await body.read(client, limit, timeout, exchange(scope).cover)
        return decode(self._decoders[route.body], content)


def _asked_for(body: Any, args: Mapping[str, str]) -> str:
    """The model that a request names, in its path or its body, as it was sent."""
    named = args.get(TAG) or getattr(body, "model", "")
    return named if isinstance(named, str) else ""


async def _in_time(route: Route, request: Request, limit: float) -> Reply:
    timer = asyncio.timeout(None if math.isinf(limit) else request.timeout + GRACE)
    try:
        async with timer:
            return await route.handler(request)
    except TimeoutError:
        if timer.expired():
            raise deadline.exceeded(limit) from None
        raise


def parse_query(raw: bytes) -> Mapping[str, str]:
    """The query's fields; of a repeated one the last. Raises BadRequest."""
    if not raw:
        return {}
    try:
        return dict(
            parse_qsl(
                raw.decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=MAX_FIELDS,
            )
        )
    except ValueError:
        raise BadRequest("The query is not valid UTF-8, or has too many fields") from None

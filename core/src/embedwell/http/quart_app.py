"""Routes as Quart rules, and Quart behind a valve that keeps the body for our handlers."""

import asyncio
from collections.abc import Callable, Sequence

from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from embedwell.http import envelope
from embedwell.http.answer import NO_CONTENT, content
from embedwell.http.asgi import App, Receive, Scope, Send, has_body
from embedwell.http.client import Client
from embedwell.http.context import Match, exchange, matched
from embedwell.http.direct import SEND_SECONDS, is_direct, run_direct
from embedwell.http.dispatch import Dispatcher
from embedwell.http.middleware.drain import Traffic
from embedwell.http.middleware.errors import report, was_cancelled
from embedwell.http.middleware.root_path import mounted
from embedwell.http.mounts import run_mount
from embedwell.http.table import TAG, VARIABLE
from embedwell.interfaces.routes import Reply, Route

CALL = "embedwell.call"


class RuleMismatch(Exception):
    """Quart refused what our own routing had matched."""


def endpoint(
    routes: Sequence[Route],
    dispatch: Dispatcher,
    traffic: Traffic,
    direct: Callable[[Route], bool] = is_direct,
) -> App:
    """The innermost ASGI application: what routing matched, a Route or a Mount.

    Routes that are `direct` do without Quart, and answer the same.
    """
    quart = build(routes, dispatch)

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        match = matched(scope)
        if match.route is not None and direct(match.route):
            await run_direct(dispatch, scope, Client(receive, True), send)
        elif match.route is not None:
            reading = match.route.stream or match.route.body is not None
            await _run_quart(quart, match, scope, Client(receive, reading), send)
        elif match.app is not None and scope["type"] == "http":
            async with traffic.until_cut(stream=False):
                await run_mount(match, scope, Client(receive, has_body(scope)), send)
        elif match.app is not None:
            await match.app(mounted(scope, match.pattern), receive, send)

    return run


def build(routes: Sequence[Route], dispatch: Dispatcher) -> Quart:
    """One rule per Route, all with the same view: which Route it is was settled before."""
    quart = Quart("embedwell", static_folder=None)
    quart.config.update(
        MAX_CONTENT_LENGTH=None, PROPAGATE_EXCEPTIONS=True, RESPONSE_TIMEOUT=SEND_SECONDS
    )
    quart.register_error_handler(HTTPException, _mismatch)

    async def view(**args: str) -> Response:
        scope, client = request.scope[CALL]  # type: ignore[literal-required]
        return await _answer(dispatch, scope, client)

    for number, route in enumerate(routes):
        quart.add_url_rule(
            _rule(route.path),
            endpoint=f"route{number}",
            view_func=view,
            methods=[route.method],
            provide_automatic_options=False,
        )
    return quart


def _rule(path: str) -> str:
    return VARIABLE.sub(lambda v: f"<path:{TAG}>" if v[1] == TAG else v[0], path)


async def _mismatch(error: Exception) -> Response:
    raise RuleMismatch(str(error))


async def _answer(dispatch: Dispatcher, scope: Scope, client: Client) -> Response:
    state = exchange(scope)
    try:
        return _response(await dispatch(scope, client))
    except GeneratorExit:
        raise
    except BaseException as error:
        if was_cancelled(error, state):
            raise
        report(error, state)
        return _response(envelope.reply(error, state.request_id, state.v1))


def _response(reply: Reply) -> Response:
    response = Response(
        content(reply),
        status=reply.status,
        headers=dict(reply.headers),
        content_type=reply.content_type,
    )
    if reply.status == NO_CONTENT:  # with a length, a client would wait for what may not come
        del response.headers["content-type"], response.headers["content-length"]
    return response


async def _run_quart(quart: Quart, match: Match, scope: Scope, client: Client, send: Send) -> None:
    inner = {
        **scope,
        "path": match.path,
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],  # handlers read ours, so nothing here can be wrong
        CALL: (scope, client),
    }
    running = asyncio.ensure_future(quart(inner, client.valve, send))  # type: ignore[arg-type]
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:  # Quart leaves its handler running unless the client "leaves"
        client.hang_up()
        await asyncio.wait([running])
        raise

"""Whatever was raised, or never answered, becomes the envelope."""

import asyncio
import logging

from embedwell.errors import EmbedwellError
from embedwell.http import envelope
from embedwell.http.answer import answer
from embedwell.http.asgi import App, Message, Receive, Scope, Send, is_http1
from embedwell.http.context import Exchange, exchange
from embedwell.interfaces.routes import Reply

log = logging.getLogger("embedwell.http")
CLOSING = {"draining", "conflicting_framing"}
POLICY_VIOLATION = 1008
ANSWER = "websocket.http.response"


class Unanswered(Exception):
    """An application returned without having sent an answer."""


class Errors:
    """Answers failures; lets cancellation through, and nothing else."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        failure: BaseException | None = None
        try:
            await then(scope, receive, send)
        except GeneratorExit:
            raise
        except BaseException as error:
            if was_cancelled(error, exchange(scope)):
                raise
            failure = error
        await self._settle(scope, send, failure)

    async def _settle(self, scope: Scope, send: Send, failure: BaseException | None) -> None:
        state = exchange(scope)
        if failure is None and (state.status or state.gone or scope["type"] == "websocket"):
            return
        failure = failure or Unanswered(state.pattern)
        report(failure, state)
        if scope["type"] == "websocket" and (state.status or not _can_answer(scope)):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        elif not state.status:
            await _send(envelope.reply(failure, state.request_id, state.v1), failure, scope, send)
        else:
            raise RuntimeError("the answer broke off") from failure  # ends the connection


def was_cancelled(error: BaseException, state: Exchange) -> bool:
    """Whether this is our own task's cancellation, not one that a handler made up."""
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return state.gone or (task is not None and task.cancelling() > 0)


def report(error: BaseException, state: Exchange) -> None:
    """Log what is a bug, with its traceback; the client only gets the request's id.

    What clients are told goes into the request's line.
    """
    if isinstance(error, EmbedwellError):
        state.problem = f"{error.code}: {error.message}"
    if envelope.is_bug(error):
        log.error("request %s failed", state.request_id, exc_info=error)


def _can_answer(scope: Scope) -> bool:
    """Whether the server can refuse a WebSocket by an answer as HTTP has it."""
    return ANSWER in scope.get("extensions", {})


async def _send(reply: Reply, failure: BaseException, scope: Scope, send: Send) -> None:
    closes = getattr(failure, "kind", "") in CLOSING and is_http1(scope)
    extra = [(b"connection", b"close")] if closes else ()
    await answer(reply, _handshake(send) if scope["type"] == "websocket" else send, extra)


def _handshake(send: Send) -> Send:
    async def answer(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return answer

"""One line and one event per request, never a word of its body."""

import logging
from collections.abc import Callable
from http import HTTPStatus

from embedwell.http.asgi import App, Receive, Scope, Send, target
from embedwell.http.context import NO_ANSWER, Exchange, exchange
from embedwell.interfaces.events import Event, RequestFinished

MAX_PATH = MAX_PROBLEM = MAX_NAME = 200
PROBES = ("/health", "/ready")  # asked every few seconds
access_log = logging.getLogger("embedwell.access")


class Log:
    """Tells the access log and the observers how each request ended."""

    def __init__(self, clock: Callable[[], float], emit: Callable[[Event], None]) -> None:
        self._clock = clock
        self._emit = emit

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        try:
            await then(scope, receive, send)
        finally:
            self._finish(exchange(scope), target(scope))

    def _finish(self, done: Exchange, raw_path: bytes) -> None:
        now = self._clock()
        event = RequestFinished(
            at=now,
            request_id=done.request_id,
            method=done.method,
            route=done.pattern,
            status=done.status or NO_ANSWER,
            seconds=now - done.started,
            model=done.model,
            caller=done.caller.id if done.caller else None,
        )
        self._write(event, raw_path, done.problem)
        self._emit(event)

    def _write(self, event: RequestFinished, raw_path: bytes, problem: str) -> None:
        path = raw_path[:MAX_PATH].decode("ascii", "backslashreplace")
        probe = event.route in PROBES and event.status < HTTPStatus.BAD_REQUEST
        level = logging.DEBUG if probe else logging.INFO
        if not access_log.isEnabledFor(level):
            return
        model = f" model={event.model}" if event.model else ""
        caller = f" caller={_printable(event.caller)}" if event.caller else ""
        told = f" {problem[:MAX_PROBLEM]!a}" if problem else ""
        took = f"{event.seconds * 1000:.1f} ms"
        line = f"{event.method} {path} {event.status} {took}{model}{caller}"
        line += f" id={event.request_id}{told}"
        # `log` itself walks the stack, for a place that is always this one
        record = access_log.makeRecord(
            access_log.name, level, __file__, 0, line, (), None, extra={"request": event}
        )
        access_log.handle(record)


def _printable(text: str) -> str:
    """ASCII without control characters: it cannot begin a line."""
    return text[:MAX_NAME].encode("unicode_escape").decode("ascii")

"""One line and one event per request, never an input text."""

import logging
import re
from collections.abc import Callable
from http import HTTPStatus

from embedwell.http.asgi import App, Receive, Scope, Send, target
from embedwell.http.context import NO_ANSWER, PROBES, Exchange, exchange
from embedwell.interfaces.events import Event, RequestFinished

MAX_PATH = MAX_PROBLEM = MAX_NAME = 200
WORD = re.compile(r"[\w.:/@+\\-]+", re.ASCII)  # what cannot look like further fields
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
            method=printable(done.method, MAX_NAME),
            route=done.pattern,
            status=done.status or NO_ANSWER,
            seconds=now - done.started,
            model=printable(done.model, MAX_NAME),
            caller=done.caller.id if done.caller else None,
            inputs=done.inputs,
            tokens=done.tokens,
        )
        self._write(event, raw_path, done.problem)
        self._emit(event)

    def _write(self, event: RequestFinished, raw_path: bytes, problem: str) -> None:
        probe = event.route in PROBES and event.status < HTTPStatus.BAD_REQUEST
        level = logging.DEBUG if probe else logging.INFO
        if not access_log.isEnabledFor(level):
            return
        line = _line(event, raw_path, problem)
        # `log` itself walks the stack, for a place that is always this one
        record = access_log.makeRecord(
            access_log.name, level, __file__, 0, line, (), None, extra={"request": event}
        )
        access_log.handle(record)


def _line(event: RequestFinished, raw_path: bytes, problem: str) -> str:
    path = printable(raw_path.decode("latin-1"), MAX_PATH)
    took = f"{event.seconds * 1000:.1f} ms"
    model = f" model={_word(event.model)}" if event.model else ""
    size = f" inputs={event.inputs} tokens={event.tokens}" if event.inputs else ""
    caller = f" caller={_word(printable(event.caller, MAX_NAME))}" if event.caller else ""
    told = f" {problem[:MAX_PROBLEM]!a}" if problem else ""
    ids = f" id={event.request_id}{told}"
    return f"{event.method} {path} {event.status} {took}{model}{size}{caller}{ids}"


def _word(value: str) -> str:
    return value if WORD.fullmatch(value) else repr(value)


def printable(text: str, limit: int) -> str:
    """At most so many characters, all ASCII and none that controls: it cannot begin a line."""
    text = text[:limit]
    if text.isascii() and text.isprintable():
        return text
    return text.encode("unicode_escape").decode("ascii")

"""What the process writes of itself: one line a record, for people or as JSON."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from embedwell.interfaces.events import RequestFinished
from embedwell.lines import Lines

INDENT = "    "  # of a traceback's lines, so that none of them looks like a record
FIELDS = "embedwell_fields"  # of a record: what JSON has beside its message, by name


def set_up(form: str) -> Lines:
    """Everything goes to stderr; `form` is "console" or "json". To be closed at the end."""
    handler = Lines(sys.stderr.fileno() if sys.stderr else os.open(os.devnull, os.O_WRONLY))
    handler.setFormatter(Json() if form == "json" else Console())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("embedwell").setLevel(logging.INFO)
    logging.captureWarnings(True)
    return handler


class Console(logging.Formatter):
    """A line for people, whatever control characters a message has; then a traceback, indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = _one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        lines = super().formatException(ei).split("\n")
        return "\n".join(INDENT + _one_line(line) for line in lines)


class Json(logging.Formatter):
    """One JSON object a line, in ASCII; what a record has beside its message in fields."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request = getattr(record, "request", None)
        if isinstance(request, RequestFinished):
            entry.update(_fields(request))
        entry.update(getattr(record, FIELDS, {}))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _fields(request: RequestFinished) -> Iterator[tuple[str, Any]]:
    yield "request_id", request.request_id
    yield "method", request.method
    yield "route", request.route
    yield "status", request.status
    yield "seconds", round(request.seconds, 6)
    for name in ("model", "caller", "inputs", "tokens"):
        if value := getattr(request, name):
            yield name, value


def _one_line(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")

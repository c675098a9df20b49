"""A record is one line, whatever is in it."""

import json
import logging
import sys
from typing import Any

import pytest

from embedwell.interfaces.events import RequestFinished
from embedwell.logs import Console, Json

NASTY = "one\r\ntwo\x1b[2J\x00\x85three\u2028four\u2029\x7f\ud800 ünd"


def record(message: str, **extra: Any) -> logging.LogRecord:
    made = logging.getLogger("embedwell.test").makeRecord(
        "embedwell.test", logging.INFO, __file__, 0, message, (), None, extra=extra or None
    )
    made.created = 1_700_000_000.25
    return made


def raised(message: str) -> Any:
    try:
        raise ValueError(message)
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize("formatter", [Console(), Json()], ids=["console", "json"])
def test_control_characters_begin_no_line(formatter: logging.Formatter) -> None:
    line = formatter.format(record(NASTY))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    line.encode("utf-8")


def test_an_ordinary_message_stays_as_it_is() -> None:
    assert Console().format(record("loaded ünd … 1.5 s")).endswith("embedwell.test  loaded ünd … 1.5 s")


def test_a_traceback_cannot_look_like_records() -> None:
    made = record("failed")
    made.exc_info = raised("no\n12:00:00 INFO    embedwell.access  forged\x1b[2J\x85x")
    first, *rest = Console().format(made).splitlines()
    assert first.endswith("failed")
    assert len(rest) > 3
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in "".join(rest)


def test_json_has_the_traceback_in_a_field() -> None:
    made = record("failed")
    made.exc_info = raised(NASTY)
    line = Json().format(made)
    assert len(line.splitlines()) == 1
    assert "ValueError: one\r\ntwo" in json.loads(line)["exception"]


def test_json_has_what_is_known_of_a_request() -> None:
    event = RequestFinished(
        at=1.0,
        request_id="r-1",
        method="POST",
        route="/embeddings",
        status=200,
        seconds=0.0123456789,
        model="owner/model",
        caller="alice",
        inputs=2,
        tokens=7,
    )
    assert json.loads(Json().format(record("line", request=event))) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "logger": "embedwell.test",
        "message": "line",
        "request_id": "r-1",
        "method": "POST",
        "route": "/embeddings",
        "status": 200,
        "seconds": 0.012346,
        "model": "owner/model",
        "caller": "alice",
        "inputs": 2,
        "tokens": 7,
    }


def test_json_leaves_out_what_is_not_known() -> None:
    event = RequestFinished(
        at=1.0, request_id="r", method="GET", route="", status=404, seconds=0.0
    )
    fields = json.loads(Json().format(record("line", request=event)))
    assert not {"model", "caller", "inputs", "tokens"} & set(fields)

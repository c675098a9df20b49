"""What every refusal must be: the envelope, with nothing of the server's inside in it."""

import re
import sys
from pathlib import Path

from tests.faults.rawhttp import Answer

CODES = {
    "BAD_REQUEST": 400, "VALIDATION_ERROR": 422, "UNAUTHORIZED": 401, "FORBIDDEN": 403,
    "NOT_FOUND": 404, "METHOD_NOT_ALLOWED": 405, "CONFLICT": 409, "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415, "INVALID_MODEL": 422, "OVERLOADED": 429, "RATE_LIMITED": 429,
    "MODEL_ERROR": 500, "INTERNAL": 500, "SOURCE_ERROR": 502, "MEMORY_ERROR": 503, "LOADING": 503,
    "DRAINING": 503, "INSUFFICIENT_STORAGE": 507,
}  # fmt: skip
OTHERS = {"TIMEOUT": {408, 504}, "PAYLOAD_TOO_LARGE": {413, 414, 431}}
BELOW_V1 = {"VALIDATION_ERROR": 400, "INVALID_MODEL": 400}
INSIDES = ("site-packages", "Traceback", 'File "', ".py", " at 0x", sys.prefix, str(Path.home()))
# A path of the file system, not one of the routes: those are told to who asked for them.
PATHS = re.compile(r"(?<![\w/])/(?:tmp|home|root|usr|var|etc|opt|work|proc|dev)/\w")


def statuses(code: str, path: str | None = "") -> set[int]:
    """Those that a code may have at a path; None is any."""
    if path is None:
        return statuses(code) | statuses(code, "/v1/")
    if code in OTHERS:
        return OTHERS[code]
    return {BELOW_V1.get(code, CODES[code]) if path.startswith("/v1/") else CODES[code]}


def check(answer: Answer, code: str | set[str], path: str | None = "") -> str:
    """That it is a refusal with this code; its message."""
    told = answer.json
    assert set(told) == {"detail", "code", "error"}, told
    assert set(told["error"]) == {"message", "type", "param", "code"}, told
    assert told["code"] in ({code} if isinstance(code, str) else code), told
    assert answer.status in statuses(told["code"], path), (answer.status, told)
    assert told["detail"] == told["error"]["message"] != ""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    check_insides(answer)
    return str(told["detail"])


def check_insides(answer: Answer) -> None:
    """That nothing tells where or how the server is installed."""
    text = answer.body.decode("utf-8", "replace")
    assert not [inside for inside in INSIDES if inside in text], text[:500]
    assert not PATHS.search(text), text[:500]

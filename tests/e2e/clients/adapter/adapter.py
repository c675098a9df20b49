"""What every client's script in Python has in common: jobs come in, answers go out, as JSON lines.

A job has url, key, model, input, retries, timeout (seconds) and perhaps dimensions and
encoding_format; `call` is "embed" or "models". It runs where the client is installed, not the server.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

Job = dict[str, Any]
Answer = dict[str, Any]


class Unsupported(Exception):
    """The client has no way to ask for this."""


def serve(do: Callable[[Job], Answer]) -> None:
    """Answers jobs until there are no more; what the client itself says is no answer."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(json.dumps(_outcome(do, json.loads(line))), file=answers, flush=True)


def chosen(job: Job) -> dict[str, Any]:
    """The options that the job names."""
    return {name: job[name] for name in ("dimensions", "encoding_format") if name in job}


def refuse(job: Job, *names: str) -> None:
    """Raises Unsupported where the job asks for one of these options."""
    for name in names:
        if name in job or job["call"] == name:
            raise Unsupported(name)


def _outcome(do: Callable[[Job], Answer], job: Job) -> Answer:
    try:
        return do(job)
    except Unsupported as missing:
        return {"unsupported": str(missing)}
    except Exception as error:
        status = getattr(error, "status_code", None)
        return {"error": {"class": type(error).__name__, "message": str(error), "status": status}}

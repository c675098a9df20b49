"""A process with one engine: loads it, then answers rounds until its input ends.

python -m tests.benchmarks.speed.worker MODULE:CLASS PRECISION SETTING (a Setting as JSON)
"""

import importlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tests.benchmarks.engines.engine import Engine, Rows, Setting
from tests.benchmarks.speed.protocol import REQUESTS, Done, Failed, Ready, Round, receive, send

PACKAGES = (
    "embedwell", "torch", "transformers", "sentence-transformers", "onnxruntime", "openvino",
    "nncf", "numpy",
)  # fmt: skip
WARM = ("a text to begin with", "another one, which is a little longer than the first") * 16


def main(arguments: Sequence[str]) -> None:
    """Answers on what was stdout; whatever the libraries print goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    place, precision, setting = arguments
    try:
        engine = _build(place, precision, Setting.decoded(setting))
        engine.embed(WARM)
    except Exception as error:
        send(answers, Failed(_reason(error)))
        return
    send(answers, Ready(_versions()))
    serve(engine, sys.stdin.buffer, answers)


def _build(place: str, precision: str, setting: Setting) -> Engine:
    module, name = place.split(":")
    built: Engine = getattr(importlib.import_module(module), name)(setting, precision)
    return built


def serve(engine: Engine, requests: BinaryIO, answers: BinaryIO) -> None:
    """Round by round, until `requests` ends."""
    while (body := receive(requests)) is not None:
        try:
            send(answers, _answer(engine, REQUESTS.decode(body)))
        except Exception as error:
            send(answers, Failed(_reason(error)))


def _answer(engine: Engine, asked: Round) -> Done:
    calls = [[text] for text in asked.texts] if asked.alone else [asked.texts]
    seconds, found = [], []
    for texts in calls:
        began = time.perf_counter()
        rows = engine.embed(texts)
        seconds.append(time.perf_counter() - began)
        found.append(rows)
    dimensions = found[0].shape[1]
    return Done(seconds, _packed(found) if asked.rows else b"", dimensions, *memory())


def _packed(found: Sequence[Rows]) -> bytes:
    return np.ascontiguousarray(np.concatenate(found), "<f4").tobytes()


def memory() -> tuple[int, int]:
    """Bytes of this process that are resident, and the most there ever were."""
    status = Path("/proc/self/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return _bytes(lines["VmRSS"]), _bytes(lines["VmHWM"])


def _bytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024


def _versions() -> dict[str, str]:
    """Of the packages that this process has loaded."""
    found = {}
    for name in PACKAGES:
        if name.replace("-", "_") in sys.modules:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
    return found


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


if __name__ == "__main__":
    main(sys.argv[1:])

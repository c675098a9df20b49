"""`embedwell serve` on a fake device that fails where a text says so; needs core alone.

    python -m tests.faults.fake_serve FOLDER [seconds that the engine takes to start]

Reads FOLDER/config.toml, and makes the models that it serves: how each loads is its name. What the
words w190 … do is in TEXTS.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import nan
from pathlib import Path
from typing import NoReturn

from embedwell import serve
from embedwell.config.load import load
from embedwell.interfaces.encoders import DeviceFailure
from embedwell.loader.load import load as load_plugins
from embedwell.testing import FakeBackend, make_model_folder
from tests.faults.fake_models import TinyModels

FIRST = 5  # the id of w0
FOREVER = 3600.0  # seconds


class Panic(BaseException):
    """What extension modules raise past `except Exception`."""


def _raise(error: BaseException) -> NoReturn:
    raise error


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


TEXTS: dict[str, Callable[[], float | None]] = {
    "w190": partial(_raise, ValueError("poison")),
    "w191": partial(_raise, Panic("poison")),
    "w192": partial(_sleep, FOREVER),
    "w193": lambda: nan,
    "w194": partial(_sleep, 2.0),
    "w195": partial(_sleep, 40.0),
    "w196": partial(_raise, DeviceFailure("device-side assert triggered")),
}
MODELS: dict[str, Callable[[], object]] = {
    "tiny": lambda: None,
    "slow": partial(_sleep, 2.0),
    "long": partial(_sleep, 40.0),
    "stuck": threading.Event().wait,
}


class Starting(FakeBackend):
    """Takes its time before the first request can be served."""

    def __init__(self, seconds: float) -> None:
        super().__init__(faults={FIRST + int(word[1:]): fault for word, fault in TEXTS.items()})
        self.load_faults = MODELS
        self._seconds = seconds

    def warm(self, model_types: Sequence[str]) -> None:
        time.sleep(self._seconds)


def main() -> NoReturn:
    folder = Path(sys.argv[1])
    backend = Starting(float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
    for name in MODELS:
        make_model_folder(folder / "models" / name)
    own = {"server.port": 0, "server.data_dir": str(folder / "data")}
    config = load(folder / "config.toml", os.environ, own)
    plugins = load_plugins(config, modules=[TinyModels(folder / "models")])
    code = serve.run(config, plugins, backend)
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()

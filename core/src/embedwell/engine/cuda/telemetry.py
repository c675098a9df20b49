"""What NVML says of a board: to be shown, never to decide by; its absence is normal."""

import logging
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from msgspec import Struct

log = logging.getLogger(__name__)

T = TypeVar("T")
LONGEST = 100  # characters of a name
MOST = 1 << 50  # bytes: no board has a petabyte


class Board(Struct, frozen=True, kw_only=True):
    """The whole board, with other processes and other MIG slices; None: NVML does not tell.

    `total` and `used` are bytes, `utilisation` is 0 to 1.
    """

    name: str | None = None
    driver: str | None = None
    total: int | None = None
    used: int | None = None
    utilisation: float | None = None


class Telemetry:
    """One board, by the UUID that CUDA gives it: NVML counts boards in an order of its own."""

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid
        self._nvml: Any = None
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def read(self) -> Board:
        """Never raises; what fails is logged once. Blocks: NVML may take its time."""
        with self._lock:
            return self._read()

    def _read(self) -> Board:
        nvml = self._library()
        handle = self._guarded("the board", lambda: nvml.nvmlDeviceGetHandleByUUID(self._uuid))
        if nvml is None or handle is None:
            self._nvml = None  # a driver that was restarted wants a new start
            return Board()
        total, used = self._guarded("memory", lambda: _memory(nvml, handle)) or (None, None)
        return Board(
            name=self._guarded("name", lambda: _text(nvml.nvmlDeviceGetName(handle))),
            driver=self._guarded("driver", lambda: _text(nvml.nvmlSystemGetDriverVersion())),
            total=total,
            used=used,
            utilisation=self._guarded("utilisation", lambda: _utilisation(nvml, handle)),
        )

    def _library(self) -> Any:
        if self._nvml is None:
            self._nvml = self._guarded("NVML", _started)
        return self._nvml

    def _guarded(self, what: str, ask: Callable[[], T]) -> T | None:
        if what != "NVML" and self._nvml is None:
            return None
        try:
            return ask()
        except Exception as error:  # a foreign library, of any version, on any driver
            if what not in self._told:
                self._told.add(what)
                log.info("no telemetry of %s (%s: %s)", what, type(error).__name__, error)
            return None


def board_of(index: int) -> str:
    """The UUID of the board of `cuda:<index>`, for Telemetry; raises OSError without such a one."""
    try:
        import torch

        return f"GPU-{torch.cuda.get_device_properties(index).uuid}"
    except (ImportError, AssertionError, AttributeError, RuntimeError) as error:
        raise OSError(f"there is no cuda:{index}: {str(error)[:200]}") from None


def _started() -> Any:
    nvml = import_module("pynvml")
    nvml.nvmlInit()
    return nvml


def _memory(nvml: Any, handle: Any) -> tuple[int, int]:
    told = nvml.nvmlDeviceGetMemoryInfo(handle)
    total, used = int(told.total), int(told.used)
    if not 0 <= used <= total <= MOST or not total:
        raise ValueError(f"{used} of {total} bytes are used, it says")
    return total, used


def _utilisation(nvml: Any, handle: Any) -> float:
    percent = float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent} %, it says")
    return percent / 100


def _text(told: object) -> str:
    """Old versions give bytes."""
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else told
    if not isinstance(text, str) or not text.isprintable() or not text:
        raise ValueError("it gives no text")
    return text[:LONGEST]

"""What becomes of work that a device's thread runs."""

import logging
from typing import Any

from msgspec import Struct

from embedwell.batching.jobs import Failure
from embedwell.batching.line import Turn, Work
from embedwell.interfaces.encoders import DeviceFailure, DeviceOutOfMemory

log = logging.getLogger("embedwell.batching")


class Outcome(Struct, frozen=True):
    """What a piece of work gave, or why it gave nothing, and when it ran."""

    result: Any  # of `perform`, or a Failure
    turn: Turn


def attempt(work: Work) -> Any:
    """Its result, or a Failure; logs, and keeps no exception: its frames would hold tensors.

    In one of the device's threads.
    """
    try:
        return work.perform()
    except (DeviceOutOfMemory, MemoryError) as error:
        return Failure("out_of_memory", str(error))
    except DeviceFailure as error:
        log.critical("the device failed", exc_info=True)
        return Failure("fatal", str(error))
    except BaseException as error:  # a Rust panic is one; nothing may end this thread
        log.exception("a forward pass failed")
        return Failure("error", type(error).__name__)

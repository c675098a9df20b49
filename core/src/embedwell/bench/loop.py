"""The event loop that the client runs on: uvloop's where it is installed, else asyncio's."""

import asyncio
from collections.abc import Callable
from importlib import import_module


def factory() -> tuple[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Its name for the report, and what makes one."""
    try:
        return "uvloop", import_module("uvloop").new_event_loop
    except ImportError:
        return "asyncio", asyncio.new_event_loop

"""Which event loop serves and drives the load client: uvloop where installed, else asyncio's."""

import asyncio
from collections.abc import Callable


def factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def running() -> str:
    """The running loop's library; raises RuntimeError outside of one."""
    return library(asyncio.get_running_loop())


def library(loop: asyncio.AbstractEventLoop) -> str:
    """What the loop is of: "asyncio" or "uvloop"."""
    return type(loop).__module__.partition(".")[0]

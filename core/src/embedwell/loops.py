"""Which event loop serves: uvloop where it is installed, else asyncio's own."""

import asyncio
from collections.abc import Callable


def factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop; uvloop saves a few hundredths of a short text's cost."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def running() -> str:
    """The running loop's library; raises RuntimeError outside of one."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]

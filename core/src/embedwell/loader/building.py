"""From specs to objects: a failure names the distribution that it came from."""

from collections.abc import Callable
from typing import TypeVar

from embedwell.errors import EmbedwellError, PluginError
from embedwell.loader.origins import Origin

T = TypeVar("T")


def build(what: str, origin: Origin, function: Callable[[], T]) -> T:
    """What a spec's `build` returns; raises PluginError naming the distribution."""
    try:
        return function()
    except EmbedwellError as error:
        raise PluginError(f"{what} ({origin}) cannot be used: {error.message}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, and panics of extension modules
        reason = f"{type(error).__name__}: {error}"
        raise PluginError(f"{what} ({origin}) failed to start: {reason}") from error

"""Asks every plugin's guard: all must agree, and at most one names the caller."""

from collections.abc import Sequence

from embedwell.errors import EmbedwellError
from embedwell.http.asgi import App, Receive, Scope, Send
from embedwell.http.context import exchange
from embedwell.interfaces.plugins import Caller, Plugin, RequestHead


class GuardFailed(Exception):
    """A plugin's guard broke: nobody passes, and the operator must hear of it."""


class Guards:
    """Sets the Exchange's caller, also of who is refused, where known; raises what guards raise."""

    def __init__(self, plugins: Sequence[tuple[str, Plugin]]) -> None:
        self._guards = [(name, plugin) for name, plugin in plugins if plugin.guards]

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        state = exchange(scope)
        assert state.head is not None
        for name, plugin in self._guards:
            try:
                caller = await _ask(name, plugin, state.head)
            except EmbedwellError as error:
                if error.caller and state.caller is None:
                    state.caller = Caller(error.caller)
                raise
            if caller is not None and state.caller is not None:
                raise GuardFailed(f"plugin {name} is the second to name the caller")
            state.caller = caller or state.caller
        await then(scope, receive, send)


async def _ask(name: str, plugin: Plugin, head: RequestHead) -> Caller | None:
    try:
        return await plugin.guard(head)
    except EmbedwellError:
        raise
    except Exception as error:
        raise GuardFailed(f"the guard of plugin {name} failed") from error

"""Below a prefix of somebody's site, whether or not the proxy before us takes it away."""

from urllib.parse import unquote

from embedwell.http.asgi import App, Message, Receive, Scope, Send, target

STARTS = ("http.response.start", "websocket.http.response.start")


class RootPath:
    """Outermost: everything inside sees paths without the prefix.

    ASGI's `path` has the prefix in front, whoever sent it; ours has not, and `mounted` puts it
    back for applications that are not ours. A Location of ours gets it on its way out.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, then: App) -> None:
        raw = self._bare(target(scope))
        inner = {
            **scope,
            "root_path": self._prefix.decode(),
            "path": unquote(raw.decode("latin-1")),
            "raw_path": raw,
        }
        await then(inner, receive, self._locating(send))

    def _bare(self, raw: bytes) -> bytes:
        rest = raw.removeprefix(self._prefix)
        return rest if rest != raw and rest.startswith(b"/") else b"/" if not rest else raw

    def _locating(self, send: Send) -> Send:
        async def locate(message: Message) -> None:
            if message["type"] in STARTS:
                headers = [self._located(n, v) for n, v in message.get("headers", ())]
                message = {**message, "headers": headers}
            await send(message)

        return locate

    def _located(self, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        ours = name.lower() == b"location" and value.startswith(b"/")
        if ours and not value.startswith(self._prefix + b"/"):
            return name, self._prefix + value
        return name, value


def mounted(scope: Scope, prefix: str) -> Scope:
    """The scope of an application below `prefix`: its `path` is whole, as ASGI has it."""
    root = scope.get("root_path", "")
    whole = {"root_path": root + prefix}
    if root:
        raw = root.encode() + target(scope)
        whole |= {"path": root + scope["path"], "raw_path": raw}
    return {**scope, **whole}

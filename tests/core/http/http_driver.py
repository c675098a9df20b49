"""An ASGI client in a few lines: one request at a time, by hand where a test wants it."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from embedwell.http.asgi import App, Message, Scope


class Answer(Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an envelope, whose whole shape is checked on the way."""
        told = self.json
        assert set(told) == {"detail", "code", "error"}
        assert set(told["error"]) == {"message", "type", "param", "code"}
        assert told["detail"] == told["error"]["message"]
        assert self.headers["content-type"] == "application/json"
        return str(told["code"])

    @property
    def detail(self) -> str:
        return str(self.json["detail"])


class Connection:
    """One request as a server would run it; `send` and `leave` are the client's side."""

    def __init__(self, app: App, scope: Scope) -> None:
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        self.received = 0
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        message = await self.inbox.get()
        self.received += 1
        return message

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    def send(self, body: bytes, more: bool = False) -> None:
        self.inbox.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self.inbox.put_nowait({"type": "http.disconnect"})

    async def answer(self) -> Answer:
        async with asyncio.timeout(10):
            await self.task
        start, *rest = self.sent
        assert start["type"] == "http.response.start"
        names = [name.decode() for name, _ in start["headers"]]
        assert len(set(names)) == len(names), "a header twice"
        assert not rest[-1].get("more_body", False)
        return Answer(
            start["status"],
            {name.decode(): value.decode() for name, value in start["headers"]},
            b"".join(message.get("body", b"") for message in rest),
        )


def scope_of(method: str, url: str, headers: Sequence[tuple[str, str]] = ()) -> Scope:
    """As a client with a Host would send it; `headers` may name another, or ("host", "") none."""
    raw, _, query = url.partition("?")
    given = [(n.lower().encode(), v.encode("latin-1")) for n, v in headers]
    if all(name != b"host" for name, _ in given):
        given.insert(0, (b"host", b"localhost"))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [pair for pair in given if pair != (b"host", b"")],
        "client": ("10.0.0.1", 1234),
        "server": ("localhost", 8000),
    }


async def ask(
    app: App,
    method: str,
    url: str,
    *,
    body: bytes = b"",
    chunks: Sequence[bytes] | None = None,
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
) -> Answer:
    given = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name.lower() for name, _ in given}
    if chunks is not None:
        given.append(("transfer-encoding", "chunked"))
    elif body and "content-length" not in names:
        given.append(("content-length", str(len(body))))
    pieces = [body] if chunks is None else chunks
    connection = Connection(app, scope_of(method, url, given))
    for number, piece in enumerate(pieces):
        connection.send(piece, more=number < len(pieces) - 1)
    return await connection.answer()


async def get(app: App, url: str, **headers: str) -> Answer:
    return await ask(app, "GET", url, headers={n.replace("_", "-"): v for n, v in headers.items()})


async def post(app: App, url: str, content: Any, **headers: str) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    given = {n.replace("_", "-"): v for n, v in headers.items()}
    return await ask(
        app, "POST", url, body=body, headers={"content-type": "application/json", **given}
    )

"""A little GitHub on the loopback: its REST API on one port, all its other hosts on a second."""

import asyncio
import hashlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from tests.sources.github_trees import Tree, pointer, tarball

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "76543210fedcba9876543210fedcba9876543210"
STORAGE_HEADER = "RemoteAuth for-the-storage-only"
SIGNATURE = "signature-of-codeload"


class Seen(Struct, frozen=True):
    """A request: where it arrived ("api" or "web"), and with which headers."""

    host: str
    method: str
    path: str
    headers: dict[str, str]

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")


class Response(Struct, frozen=True):
    """Without a length the body is sent in chunks, as GitHub sends its tarballs."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    sized: bool = True


class Repository:
    """Commits with their trees, branches and tags; `token` makes it private."""

    def __init__(self, tree: Tree, *, token: str = "") -> None:
        self.trees: dict[str, Tree] = {COMMIT: tree}
        self.refs = {"HEAD": COMMIT, "main": COMMIT, "v1.0": COMMIT}
        self.token = token
        self.objects: dict[str, bytes] = {}
        self.releases: dict[str, dict[str, bytes]] = {}

    def lfs(self, data: bytes, *, kept: bool = True) -> bytes:
        """The pointer that stands for `data`; the content can be had if it is `kept`."""
        oid = hashlib.sha256(data).hexdigest()
        if kept:
            self.objects[oid] = data
        return pointer(oid, len(data))


Fault = Callable[[asyncio.StreamWriter, Response], Awaitable[None]]
KINDS = {"commits", "tarball", "codeload", "releases", "assets", "batch", "object"}


class GitHub:
    """`seen` has the requests. `faults` maps a kind of request to what happens to the next ones."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.seen: list[Seen] = []
        self.faults: dict[str, list[Fault]] = {kind: [] for kind in KINDS}
        self.hanging = asyncio.Event()
        self.closing = asyncio.Event()
        self.api = self.web = ""
        self.tasks: set[asyncio.Task[None]] = set()

    def add(self, name: str, tree: Tree, **options: Any) -> Repository:
        self.repositories[name] = Repository(tree, **options)
        return self.repositories[name]

    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]

    async def answer(self, seen: Seen, body: bytes) -> tuple[str, Response]:
        path = seen.path.partition("?")[0]
        parts = path.strip("/").split("/")
        if seen.host == "api" and parts[0] == "repos":
            return self._api(seen, "/".join(parts[1:3]), parts[3], "/".join(parts[4:]))
        if parts[0] == "codeload":
            return "codeload", self._codeload(seen, "/".join(parts[1:3]), parts[4])
        if path.endswith(".git/info/lfs/objects/batch"):
            name = path.removesuffix(".git/info/lfs/objects/batch")[1:]
            return "batch", self._batch(seen, name, json.loads(body))
        if parts[0] == "storage":
            return "object", self._object(seen, "/".join(parts[1:3]), parts[3])
        return "", Response(404)

    def _api(self, seen: Seen, name: str, what: str, rest: str) -> tuple[str, Response]:
        repository = self.repositories.get(name)
        kind = "assets" if rest.startswith("assets/") else what
        if repository is None or not _allowed(seen, f"Bearer {repository.token}", repository):
            return kind, Response(404, b'{"message": "Not Found"}')
        if kind == "commits":
            return kind, _commit(seen, repository, rest)
        if kind == "tarball":
            target = f"{self.web}/codeload/{name}/legacy.tar.gz/{rest}?token={SIGNATURE}"
            return kind, Response(302, headers={"Location": target})
        if kind == "assets":
            return kind, _asset(repository, int(rest.removeprefix("assets/")))
        return kind, _release(repository, rest.removeprefix("tags/"))

    def _codeload(self, seen: Seen, name: str, commit: str) -> Response:
        if not seen.path.endswith(f"?token={SIGNATURE}"):
            return Response(404)
        tree = self.repositories[name].trees.get(commit)
        if tree is None:
            return Response(404)
        return Response(200, tarball(name, commit, tree), sized=False)

    def _batch(self, seen: Seen, name: str, asked: dict[str, Any]) -> Response:
        repository = self.repositories[name]
        basic = b64encode(f"x-access-token:{repository.token}".encode()).decode()
        if not _allowed(seen, f"Basic {basic}", repository):
            return Response(401)
        assert asked["operation"] == "download"
        assert asked["transfers"] == ["basic"]
        rows = [self._row(repository, name, wanted) for wanted in asked["objects"]]
        return _json({"transfer": "basic", "objects": rows})

    def _row(self, repository: Repository, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        data = repository.objects.get(wanted["oid"])
        if data is None or len(data) != wanted["size"]:
            return {**wanted, "error": {"code": 404, "message": "Object does not exist"}}
        href = f"{self.web}/storage/{name}/{wanted['oid']}"
        header = {"Authorization": STORAGE_HEADER, "Host": "evil.example"}
        return {**wanted, "actions": {"download": {"href": href, "header": header}}}

    def _object(self, seen: Seen, name: str, oid: str) -> Response:
        if seen.authorization != STORAGE_HEADER:
            return Response(403)
        return Response(200, self.repositories[name].objects[oid])

    async def connected(
        self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while (request := await _read(host, reader)) is not None:
                seen, body = request
                self.seen.append(seen)
                kind, response = await self.answer(seen, body)
                if self.faults.get(kind):
                    await self.faults[kind].pop(0)(writer, response)
                    break
                await send(writer, response)
        except ConnectionError:
            pass  # the client left
        finally:
            writer.close()

    def handler(self, host: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self.connected(host, reader, writer))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

        return accept


@asynccontextmanager
async def github() -> AsyncIterator[GitHub]:
    """Running until the block ends."""
    made = GitHub()
    api = await asyncio.start_server(made.handler("api"), "127.0.0.1", 0)
    web = await asyncio.start_server(made.handler("web"), "127.0.0.1", 0)
    made.api = f"http://127.0.0.1:{api.sockets[0].getsockname()[1]}"
    made.web = f"http://127.0.0.1:{web.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        made.closing.set()
        api.close()
        web.close()
        for task in list(made.tasks):
            task.cancel()
        if made.tasks:
            await asyncio.wait(made.tasks)


async def send(writer: asyncio.StreamWriter, response: Response, cut: int | None = None) -> None:
    """`cut` is how many bytes of the body are sent."""
    head = {"Content-Type": "application/octet-stream", **response.headers}
    head |= (
        {"Content-Length": str(len(response.body))}
        if response.sized
        else {"Transfer-Encoding": "chunked"}
    )
    lines = [f"HTTP/1.1 {response.status} .", *(f"{k}: {v}" for k, v in head.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    body = response.body[:cut]
    if response.sized:
        writer.write(body)
    else:
        for start in range(0, len(body), 1000):
            writer.write(chunk(body[start : start + 1000]))
        if cut is None:
            writer.write(b"0\r\n\r\n")
    await writer.drain()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def _read(host: str, reader: asyncio.StreamReader) -> tuple[Seen, bytes] | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    request, *lines = head.decode("latin-1").strip().split("\r\n")
    method, path, _ = request.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(host, method, path, headers), body


def _allowed(seen: Seen, expected: str, repository: Repository) -> bool:
    return not repository.token or seen.authorization == expected


def _commit(seen: Seen, repository: Repository, ref: str) -> Response:
    assert seen.headers["accept"] == "application/vnd.github.sha"
    commit = ref if ref in repository.trees else repository.refs.get(ref)
    if commit is None:
        return Response(422, b'{"message": "No commit found for SHA"}')
    return Response(200, commit.encode())


def _release(repository: Repository, tag: str) -> Response:
    assets = repository.releases.get(tag)
    if assets is None:
        return Response(404)
    rows = [
        {
            "id": number,
            "name": name,
            "size": len(data),
            "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
            "url": "https://evil.example/",
            "browser_download_url": "https://evil.example/",
        }
        for number, (name, data) in enumerate(assets.items())
    ]
    return _json({"tag_name": tag, "assets": rows})


def _asset(repository: Repository, number: int) -> Response:
    every = [data for assets in repository.releases.values() for data in assets.values()]
    return Response(200, every[number])


def _json(value: object) -> Response:
    return Response(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

"""Git LFS: files of which a repository has only a pointer, and the API that says where they are."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from embedwell import InvalidModel, SourceError
from embedwell_source_github.api import MAX_ANSWER, check, decode
from embedwell_source_github.client import Answer, Ask, Client
from embedwell_source_github.config import Access
from embedwell_source_github.urls import parse

MEDIA = "application/vnd.git-lfs+json"
LONGEST = 1024  # bytes of a pointer
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n?"
)
_START = b"version https://git-lfs.github.com/spec/"
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")
_VALUE = re.compile(r"[\x20-\x7e]{0,4000}")
_OURS = {"host", "connection", "content-length", "transfer-encoding", "te", "upgrade"}


class Pointer(Struct, frozen=True):
    """What stands for the file `name` in the tree: the size and sha256 of its content."""

    name: str
    sha256: str
    size: int


class Link(Struct, frozen=True):
    """Where an object is, and the headers that its host wants."""

    href: Annotated[str, Meta(max_length=10_000)]
    header: Annotated[dict[str, str], Meta(max_length=50)] = {}


class Actions(Struct, frozen=True):
    """What can be done with an object."""

    download: Link | None = None


class Fault(Struct, frozen=True):
    """Why an object cannot be had."""

    code: int = 0


class Object(Struct, frozen=True):
    """One row of a batch's answer."""

    oid: str
    actions: Actions | None = None
    error: Fault | None = None


class Batch(Struct, frozen=True):
    """The answer to a batch request."""

    objects: tuple[Object, ...] = ()


def pointer(folder: Path, name: str) -> Pointer | None:
    """None where the file is no pointer; raises InvalidModel for a malformed one. Blocks."""
    with (folder / name).open("rb") as file:
        data = file.read(LONGEST)
    if not data.startswith(_START):
        return None
    found = _POINTER.fullmatch(data)
    if found is None:
        raise InvalidModel(f"{name} is a Git LFS pointer that cannot be read")
    return Pointer(name, found[1].decode(), int(found[2]))


class Lfs:
    """Objects of one repository."""

    def __init__(self, client: Client, access: Access, repository: str) -> None:
        self._client = client
        self._repository = repository
        self._url = access.web.at(f"/{repository}.git/info/lfs/objects/batch")
        self._token = access.token

    @asynccontextmanager
    async def open(self, wanted: Pointer) -> AsyncIterator[Answer]:
        """The object's content, whose length and hash are still to be checked."""
        link = await self._link(wanted)
        url = parse(link.href)
        if url is None:
            raise SourceError(f"GitHub gave no address for {wanted.name} (Git LFS)")
        async with self._client.send(Ask(url=url, private=_headers(link.header))) as answer:
            check(answer, self._repository, bool(self._token))
            yield answer

    async def _link(self, wanted: Pointer) -> Link:
        async with self._client.send(self._question(wanted)) as answer:
            check(answer, self._repository, bool(self._token))
            batch = decode(await answer.read(MAX_ANSWER), Batch)
        row = next(
            (row for row in batch.objects if row.oid == wanted.sha256), Object(wanted.sha256)
        )
        if row.actions is None or row.actions.download is None:
            code = f" ({row.error.code})" if row.error else ""
            raise InvalidModel(
                f"{wanted.name} is kept in Git LFS, which does not have its content{code}"
            )
        return row.actions.download

    def _question(self, wanted: Pointer) -> Ask:
        body = {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": [{"oid": wanted.sha256, "size": wanted.size}],
        }
        return Ask(
            method="POST",
            url=self._url,
            headers={"Accept": MEDIA, "Content-Type": MEDIA},
            private=self._authorization(),
            body=msgspec.json.encode(body),
        )

    def _authorization(self) -> Mapping[str, str]:
        """Git's own hosts take a token as a password."""
        if self._token is None:
            return {}
        pair = b64encode(f"x-access-token:{self._token}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}


def _headers(given: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in given.items()
        if _HEADER.fullmatch(name) and name.lower() not in _OURS and _VALUE.fullmatch(value)
    }

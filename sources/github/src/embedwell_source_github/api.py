"""GitHub's REST API, as far as it is needed."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from embedwell import SourceError
from embedwell_source_github.client import Answer, Ask, Client
from embedwell_source_github.config import Access
from embedwell_source_github.failures import Transient
from embedwell_source_github.urls import Url

T = TypeVar("T")

COMMIT = re.compile(r"[0-9a-f]{40}")
MAX_ANSWER = 10_000_000
REMEDY = "give the server a token that may read it (GITHUB_TOKEN, or token in [sources.github])"
JSON = "application/vnd.github+json"
SHA = "application/vnd.github.sha"
BYTES = "application/octet-stream"


class Asset(Struct, frozen=True):
    """A file of a release; `digest` is `sha256:…` where GitHub says it."""

    id: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    name: Annotated[str, Meta(max_length=1_000)]
    size: Annotated[int, Meta(ge=0, le=2**62)]
    digest: str | None = None

    @property
    def sha256(self) -> str | None:
        """In hexadecimal, None where it is not known."""
        kind, _, value = (self.digest or "").partition(":")
        return value if kind == "sha256" else None


class Release(Struct, frozen=True):
    """The files that belong to a tag beside its tree."""

    assets: tuple[Asset, ...] = ()


class Api:
    """Questions about one repository; raises SourceError, or Transient where asking again helps."""

    def __init__(self, client: Client, access: Access, repository: str) -> None:
        self._client = client
        self._access = access
        self._repository = repository
        self._base = access.api.at(f"/repos/{repository}")
        token = access.token
        self._private = {"Authorization": f"Bearer {token}"} if token else {}

    async def commit(self, revision: str | None) -> str:
        """The commit that a branch, tag or commit is; None asks for the default branch."""
        async with self._get(f"/commits/{revision or 'HEAD'}", SHA) as answer:
            if answer.status in (404, 409, 422):
                raise SourceError(self._absent(answer.status, revision))
            self._check(answer)
            text = (await answer.read(MAX_ANSWER)).decode("latin-1").strip()
        if not COMMIT.fullmatch(text) or (COMMIT.fullmatch(revision or "") and text != revision):
            raise SourceError(f"GitHub named no commit for {self._repository}")
        return text

    async def release(self, tag: str) -> Release | None:
        """The release of a tag, None where there is none."""
        async with self._get(f"/releases/tags/{tag}", JSON) as answer:
            if answer.status == 404:
                return None
            self._check(answer)
            return decode(await answer.read(MAX_ANSWER), Release)

    @asynccontextmanager
    async def tarball(self, commit: str) -> AsyncIterator[Answer]:
        """The tree of a commit as a tar.gz."""
        async with self._get(f"/tarball/{commit}", JSON) as answer:
            self._check(answer)
            yield answer

    @asynccontextmanager
    async def asset(self, asset: Asset) -> AsyncIterator[Answer]:
        """A release's file."""
        async with self._get(f"/releases/assets/{asset.id}", BYTES) as answer:
            self._check(answer)
            yield answer

    @asynccontextmanager
    async def _get(self, path: str, accept: str) -> AsyncIterator[Answer]:
        url: Url = self._base.at(path)
        headers = {"Accept": accept, "X-GitHub-Api-Version": "2022-11-28"}
        async with self._client.send(
            Ask(url=url, headers=headers, private=self._private)
        ) as answer:
            yield answer

    def _check(self, answer: Answer) -> None:
        check(answer, self._repository, bool(self._access.token))

    def _absent(self, status: int, revision: str | None) -> str:
        if status == 409:
            return f"The GitHub repository {self._repository} is empty"
        if status == 422:
            return f"The GitHub repository {self._repository} has no revision {revision or 'HEAD'}"
        what = f" with a revision {revision}" if revision else ""
        return f"GitHub has no repository {self._repository}{what}, or it is private: {REMEDY}"


def check(answer: Answer, repository: str, token: bool) -> None:
    """Raises unless the answer is what was asked for."""
    status = answer.status
    if status == 200:
        return
    if status == 429 or (status == 403 and _limited(answer.headers)):
        more = "" if token else "; with a token (GITHUB_TOKEN) the limit is higher"
        raise SourceError(
            f"GitHub's rate limit is used up: try again {_when(answer.headers)}{more}"
        )
    if status >= 500:
        raise Transient(f"GitHub failed with {status} for {repository}")
    if status in (401, 403):
        raise SourceError(f"GitHub refused access to {repository} ({status}): {REMEDY}")
    if status == 404:
        raise SourceError(f"GitHub does not find what belongs to {repository} (404)")
    raise SourceError(f"GitHub answered {status} for {repository}")


def decode(data: bytes, kind: type[T]) -> T:
    """Raises SourceError for what is not that."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise SourceError("GitHub sent an answer that cannot be understood") from None


def _limited(headers: Mapping[str, str]) -> bool:
    return headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers


def _when(headers: Mapping[str, str]) -> str:
    seconds, moment = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
    if seconds.isdecimal() and len(seconds) < 7:
        return f"in {seconds} s"
    if moment.isdecimal() and len(moment) < 12:
        return f"after {datetime.fromtimestamp(int(moment), UTC):%Y-%m-%d %H:%M:%S} UTC"
    return "later"

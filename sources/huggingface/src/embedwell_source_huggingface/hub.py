"""The Hub as the source sees it: what is behind a revision, and bring it here."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from embedwell import EmbedwellError, InsufficientStorage, Overloaded, Progress, SourceError
from embedwell_source_huggingface.config import Access, Config, Places
from embedwell_source_huggingface.files import Plan
from embedwell_source_huggingface.messages import (
    Absent,
    Ask,
    Done,
    Failed,
    Get,
    Listing,
    Message,
    Moved,
)
from embedwell_source_huggingface.process import child, environment

QUESTIONS = 4  # children that ask at once; downloads are counted apart
RETRY_AFTER = 5.0  # seconds
REMEDY = "give the server a token that may read it (HF_TOKEN, or token in [sources.huggingface])"

CHECK = "check the server's network, HTTPS_PROXY and HF_ENDPOINT"


class Unreachable(SourceError):
    """Nothing is known of the model: the Hub gave no answer."""


class Hub:
    """Every question and every download is a child process of its own, which can be killed."""

    def __init__(self, config: Config, access: Access, places: Places) -> None:
        self._config = config
        self._access = access
        self._places = places
        self._questions = asyncio.Semaphore(QUESTIONS)
        self._downloads = asyncio.Semaphore(config.max_concurrent)

    async def ask(self, repo: str, revision: str) -> Listing | None:
        """Commit and files of a branch, tag or commit, None where the Hub has none.

        Raises Overloaded where other questions kept this one from being put, SourceError.
        """
        seconds = self._config.timeout
        request = Ask(repo, revision, self._access.endpoint, self._access.token, seconds)
        async with self._question(repo):
            try:
                async with asyncio.timeout(seconds), child(request, self._environment()) as asked:
                    message = await asked.hear()
            except TimeoutError:
                raise Unreachable(
                    f"The Hugging Face Hub did not answer within {seconds:g} s for {repo}: {CHECK}"
                ) from None
        if isinstance(message, Listing):
            return message
        if isinstance(message, Absent):
            return None
        raise _failure(repo, message)

    @asynccontextmanager
    async def _question(self, repo: str) -> AsyncIterator[None]:
        """A place to ask from; who waits for it has half of `timeout`, and then asks in time."""
        try:
            async with asyncio.timeout(self._config.timeout / 2):
                await self._questions.acquire()
        except TimeoutError:
            raise Overloaded(
                f"Too many models are being looked up on the Hugging Face Hub: ask for {repo} "
                "again in a moment",
                retry_after=RETRY_AFTER,
            ) from None
        try:
            yield
        finally:
            self._questions.release()

    def turn(self) -> AbstractAsyncContextManager[None]:
        """One of the places for downloads (`max_concurrent`), until the block ends."""
        return self._downloads

    async def get(self, plan: Plan, progress: Progress) -> None:
        """Brings the files to the cache, in a turn; what arrived is kept for a retry.

        Raises SourceError, InsufficientStorage.
        """
        request = Get(
            repo=plan.repo,
            commit=plan.commit,
            files=plan.files,
            endpoint=self._access.endpoint,
            token=self._access.token,
            cache=str(self._places.cache.absolute()),
        )
        limit = asyncio.timeout(self._config.deadline_seconds)
        try:
            async with limit:
                await self._download(request, plan.size, progress)
        except TimeoutError:
            what = "did not finish in time" if limit.expired() else "came to a standstill"
            raise SourceError(f"The download of {plan.repo} {what}") from None

    async def _download(self, request: Get, size: int, progress: Progress) -> None:
        progress(0, size)
        async with child(request, self._environment()) as working:
            while True:
                async with asyncio.timeout(self._config.stall_seconds):
                    message = await working.hear()
                if isinstance(message, Moved):
                    progress(min(message.done, size), size)
                elif isinstance(message, Done):
                    progress(size, size)
                    return
                else:
                    raise _failure(request.repo, message)

    def _environment(self) -> dict[str, str]:
        return environment(os.environ, str(self._places.home.absolute()), self._access.endpoint)


def _failure(repo: str, message: Message) -> EmbedwellError:
    if isinstance(message, Absent):
        return SourceError(f"{repo} is not on the Hugging Face Hub any more")
    if isinstance(message, Failed) and message.why == "unreachable":
        return Unreachable(f"The Hugging Face Hub could not be reached for {repo}: {CHECK}")
    if isinstance(message, Failed) and message.why == "full":
        return InsufficientStorage(f"The disk is full: {repo} could not be downloaded")
    why, status = (message.why, message.status) if isinstance(message, Failed) else ("bug", 0)
    texts = {
        "gated": f"{repo} is restricted on the Hugging Face Hub: accept its terms, and {REMEDY}",
        "unauthorized": f"The Hugging Face Hub refused access to {repo} ({status}): {REMEDY}",
        "disabled": f"{repo} has been disabled on the Hugging Face Hub",
        "refused": f"The Hugging Face Hub answered {status} for {repo}",
        "corrupt": f"A file of {repo} arrived damaged and was removed: ask again",
    }
    unknown = f"The download of {repo} failed; the server's log has the reason"
    return SourceError(texts.get(why, unknown))

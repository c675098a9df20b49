"""One model on its way from GitHub to the store."""

import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar

from embedwell import BaseServices, InvalidModel, Published, Snapshot, SourceError, Staging
from embedwell_source_github import files, lfs
from embedwell_source_github.api import Api, Asset
from embedwell_source_github.client import Answer, Client
from embedwell_source_github.config import Access
from embedwell_source_github.failures import retrying
from embedwell_source_github.meter import Meter
from embedwell_source_github.names import Wanted

T = TypeVar("T")

SOURCE = "github"
Known = lfs.Pointer | Asset  # a file whose size is known, and maybe its hash
Open = Callable[[], AbstractAsyncContextManager[Answer]]


class Import:
    """Resolves the revision, downloads, completes, publishes; what failed half-way is gone."""

    def __init__(
        self,
        wanted: Wanted,
        *,
        services: BaseServices,
        access: Access,
        client: Client,
        meter: Meter,
        pauses: Sequence[float],
    ) -> None:
        self._wanted = wanted
        self._services = services
        self._api = Api(client, access, str(wanted))
        self._lfs = lfs.Lfs(client, access, str(wanted))
        self._meter = meter
        self._pauses = pauses

    async def run(self) -> Snapshot:
        """Raises InvalidModel, InsufficientStorage, Conflict, SourceError."""
        commit = await self._retrying(partial(self._api.commit, self._wanted.revision))
        found = await self._retrying(partial(self._from_tree, commit))
        if isinstance(found, Asset):
            found = await self._retrying(partial(self._from_archive, found, commit))
        return found.snapshot

    async def _from_tree(self, commit: str) -> Published | Asset:
        """An Asset where the release has the model as an archive."""
        async with self._services.store.stage(SOURCE, self._wanted.name) as staging:
            async with self._api.tarball(commit) as answer:
                await self._keep(staging, answer)
            chooser = files.Chooser()
            nothing = await self._unpack(staging, chooser)
            names = await self._names(staging)
            if not files.has_weights(names):
                asset = await self._from_release(staging, names)
                if asset is not None:
                    return asset
            if nothing is not None and not await self._names(staging):
                raise nothing
            return await self._publish(staging, chooser, commit)

    async def _unpack(self, staging: Staging, chooser: files.Chooser) -> InvalidModel | None:
        """Why there is nothing, where not one file is a model's: a release may have it all."""
        try:
            await staging.unpack(within=self._wanted.subfolder, only=chooser)
        except InvalidModel as error:
            if chooser.chosen:
                raise
            return InvalidModel(f"{error.message}{chooser.hint}")
        return None

    async def _from_archive(self, asset: Asset, commit: str) -> Published:
        async with self._services.store.stage(SOURCE, self._wanted.name) as staging:
            await self._expect(asset.size)
            await self._verified(asset, staging.keep, partial(self._api.asset, asset))
            chooser = files.Chooser()
            await staging.unpack(only=chooser)
            return await self._publish(staging, chooser, commit)

    async def _from_release(self, staging: Staging, names: Sequence[str]) -> Asset | None:
        """Add what the release has of the model, or name its archive."""
        tag = self._wanted.revision
        if tag is None or self._wanted.subfolder:
            return None
        release = await self._retrying(partial(self._api.release, tag))
        if release is None:
            return None
        chosen = files.loose(release.assets, names)
        if not chosen:
            return files.archive(release.assets, str(self._wanted))
        await self._expect(sum(asset.size for asset in chosen))
        for asset in chosen:
            await self._file(staging, asset.name, asset, partial(self._api.asset, asset))
        return None

    async def _publish(self, staging: Staging, chooser: files.Chooser, commit: str) -> Published:
        names = await self._names(staging)
        for name in files.superfluous(names):
            await self._unlink(staging, name)
        names = await self._names(staging)
        chooser.check(names, str(self._wanted))
        pointers = await self._services.threads.run(_pointers, staging.path, names)
        await self._expect(sum(pointer.size for pointer in pointers))
        for pointer in pointers:
            await self._file(staging, pointer.name, pointer, partial(self._lfs.open, pointer))
        return await staging.publish(commit)

    async def _keep(self, staging: Staging, answer: Answer) -> None:
        if answer.length:
            await self._expect(answer.length)
        while block := await answer.block():
            self._meter.add(len(block))
            await staging.keep(block)

    async def _file(self, staging: Staging, name: str, wanted: Known, open_: Open) -> None:
        async def attempt() -> None:
            await self._unlink(staging, name)
            await self._verified(wanted, partial(staging.write, name), open_)

        await self._retrying(attempt)

    async def _verified(
        self, wanted: Known, write: Callable[[bytes], Awaitable[None]], open_: Open
    ) -> None:
        """Every byte that is written is counted and hashed."""
        digest, left = hashlib.sha256(), wanted.size
        async with open_() as answer:
            while block := await answer.block():
                left -= len(block)
                if left < 0:
                    break
                self._meter.add(len(block))
                await self._services.threads.run(digest.update, block)
                await write(block)
        if left != 0:
            raise SourceError(f"{wanted.name} did not arrive in its length: ask again")
        if wanted.sha256 not in (None, digest.hexdigest()):
            raise SourceError(f"{wanted.name} arrived damaged (wrong hash): ask again")

    async def _expect(self, size: int) -> None:
        if size:
            self._meter.expect(size)
            await self._services.store.check_room(size)

    async def _names(self, staging: Staging) -> Sequence[str]:
        return await self._services.threads.run(_names, staging.path)

    async def _unlink(self, staging: Staging, name: str) -> None:
        await self._services.threads.run((staging.path / name).unlink, missing_ok=True)

    async def _retrying(self, attempt: Callable[[], Awaitable[T]]) -> T:
        mark = self._meter.done

        async def again() -> T:
            self._meter.done = mark
            return await attempt()

        return await retrying(again, self._pauses)


def _names(folder: Path) -> Sequence[str]:
    return [
        (Path(where) / name).relative_to(folder).as_posix()
        for where, _, names in os.walk(folder)
        for name in sorted(names)
    ]


def _pointers(folder: Path, names: Sequence[str]) -> Sequence[lfs.Pointer]:
    found = (lfs.pointer(folder, name) for name in names)
    return [pointer for pointer in found if pointer is not None]

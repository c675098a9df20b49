"""The store: replacing and removing, and when the files go."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedwell.errors import (
    ModelNotFound,
)
from embedwell.interfaces.models import ModelKey, ModelRef
from embedwell.models.holds import Gone
from embedwell.tasks.threads import BoundedThreads
from tests.core.models.store_bench import A, B, Bench, C, Quick, contents, digest, open_bench

REF = ModelRef("m")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path) as made:
        yield made


def keys(*revisions: str) -> list[ModelKey]:
    return [ModelKey("upload", "m", revision) for revision in revisions]


class Failing(Quick):
    """Fails to remove the first folder, once it is told to."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()

    def rmtree(self, path: Path) -> None:
        if self.go.is_set():
            super().rmtree(path)
        else:
            self.reached.set()
            assert self.go.wait(10)
            raise OSError(errno.EIO, "Input/output error")


class TestReplacing:
    async def test_the_previous_revision_stays(self, bench: Bench) -> None:
        await bench.publish("m", A)
        done = await bench.publish("m", B)
        assert done.replaced == digest(A)
        assert await bench.listed() == {"m": [B, A]}
        old = await bench.store.find("upload", ModelRef("m", digest(A)))
        assert old is not None
        assert contents(old) == A
        assert bench.changes == [[], keys(digest(A))]

    async def test_the_one_before_goes(self, bench: Bench) -> None:
        for model in (A, B, C):
            await bench.publish("m", model)
        await bench.store.settled()
        assert await bench.listed() == {"m": [C, B]}
        assert bench.folders() == {digest(B), digest(C)}
        assert bench.changes[-1] == keys(digest(B), digest(A))

    async def test_an_unknown_revision_is_not_found(self, bench: Bench) -> None:
        await bench.publish("m", A)
        assert await bench.store.find("upload", ModelRef("m", digest(B))) is None

    async def test_the_same_content_again_changes_nothing(self, bench: Bench) -> None:
        first = await bench.publish("m", A)
        again = await bench.publish("m", A)
        assert again.snapshot == first.snapshot
        assert again.replaced == digest(A)
        assert await bench.listed() == {"m": [A]}
        assert bench.changes == [[]]

    async def test_going_back_to_an_earlier_content(self, bench: Bench) -> None:
        for model in (A, B, A):
            await bench.publish("m", model)
        assert await bench.listed() == {"m": [A, B]}
        assert bench.changes[-1] == keys(digest(B))

    async def test_one_revision_with_another_content_is_a_change(self, bench: Bench) -> None:
        await bench.publish("m", A, "commit")
        await bench.publish("m", B, "commit")
        assert await bench.listed() == {"m": [B]}
        assert bench.changes[-1] == keys("commit")

    async def test_files_in_use_go_when_the_last_user_leaves(self, bench: Bench) -> None:
        old = (await bench.publish("m", A)).snapshot
        with bench.holds.hold(old):
            for model in (B, C):
                await bench.publish("m", model)
            waiting = asyncio.create_task(bench.store.released(old))
            await asyncio.sleep(0)
            assert contents(old) == A
            assert not waiting.done()
        await waiting
        await bench.store.settled()
        assert not old.path.exists()
        with pytest.raises(Gone), bench.holds.hold(old):
            pass

    async def test_content_that_comes_back_before_its_files_went(self, bench: Bench) -> None:
        old = (await bench.publish("m", A)).snapshot
        with bench.holds.hold(old):
            await bench.store.remove("upload", REF)
            await bench.publish("m", A)
        await bench.store.settled()
        assert await bench.listed() == {"m": [A]}
        with bench.holds.hold(old):
            assert contents(old) == A

    async def test_content_that_comes_back_after_they_went(self, bench: Bench) -> None:
        old = (await bench.publish("m", A)).snapshot
        await bench.store.remove("upload", REF)
        await bench.store.settled()
        await bench.publish("m", A)
        with bench.holds.hold(old):
            assert contents(old) == A

    async def test_content_that_comes_and_goes_while_its_files_cannot_be_removed(
        self, tmp_path: Path
    ) -> None:
        files = Failing()
        bench = Bench(tmp_path, files=files, threads=BoundedThreads(2))
        await bench.store.open()
        await bench.publish("m", A)
        await bench.store.remove("upload", REF)
        await asyncio.to_thread(files.reached.wait)
        await bench.publish("m", A)
        await bench.store.remove("upload", REF)
        files.go.set()
        await bench.store.settled()
        assert bench.folders() == set()

    async def test_the_same_content_published_and_removed_at_once(self, bench: Bench) -> None:
        async def one(name: str) -> None:
            for _ in range(5):
                done = await bench.publish(name, A)
                assert contents(done.snapshot) == A
                await bench.store.remove("upload", ModelRef(name))

        await asyncio.gather(*(one(f"m{i}") for i in range(4)))
        await bench.store.settled()
        assert (await bench.listed(), bench.folders()) == ({}, set())


class TestRemoving:
    async def test_a_name_goes_with_all_its_revisions(self, bench: Bench) -> None:
        for model in (A, B):
            await bench.publish("m", model)
        await bench.store.remove("upload", REF)
        assert await bench.store.find("upload", REF) is None
        assert bench.changes[-1] == keys(digest(B), digest(A))
        await bench.store.settled()
        assert bench.folders() == set()

    @pytest.mark.parametrize(("gone", "left"), [(A, B), (B, A)])
    async def test_one_revision_leaves_the_other(
        self, bench: Bench, gone: dict[str, bytes], left: dict[str, bytes]
    ) -> None:
        for model in (A, B):
            await bench.publish("m", model)
        await bench.store.remove("upload", ModelRef("m", digest(gone)))
        await bench.store.settled()
        assert await bench.listed() == {"m": [left]}
        assert bench.changes[-1] == keys(digest(gone))

    async def test_the_last_revision_takes_the_name_along(self, bench: Bench) -> None:
        await bench.publish("m", A)
        await bench.store.remove("upload", ModelRef("m", digest(A)))
        assert await bench.listed() == {}

    @pytest.mark.parametrize("ref", [ModelRef("n"), ModelRef("m", "else"), ModelRef("M")])
    async def test_what_is_not_there(self, bench: Bench, ref: ModelRef) -> None:
        await bench.publish("m", A)
        with pytest.raises(ModelNotFound, match=str(ref)):
            await bench.store.remove("upload", ref)

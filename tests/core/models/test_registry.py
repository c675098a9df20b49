"""The registry: the chain, what it remembers, one question and one fetch at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from embedwell.config.schema import Sources
from embedwell.errors import (
    ConfigurationError,
    Draining,
    EmbedwellError,
    InvalidModel,
    Loading,
    ModelNotFound,
    SourceError,
)
from embedwell.interfaces.models import Fetch, ModelKey, ModelRef, Progress, Snapshot, Source
from embedwell.interfaces.services import BaseServices
from embedwell.models.registry import SourceRegistry
from embedwell.tasks.runner import TaskRunner
from embedwell.testing import FakeClock, make_services

REF = ModelRef("owner/name")
Answer = Snapshot | Fetch | None


def snapshot(source: str, name: str = "owner/name", revision: str = "r1") -> Snapshot:
    return Snapshot(Path("/nowhere"), ModelKey(source, name, revision), "digest", fresh_for=1.0)


class Scripted(Source):
    """Answers as told; an exception is raised. `gate` holds answers back."""

    def __init__(self, services: BaseServices, answer: object = None) -> None:
        super().__init__(None, services)
        self.answer = answer
        self.rows: object = ()
        self.asked: list[ModelRef] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = False

    async def resolve(self, ref: ModelRef) -> Any:
        self.asked.append(ref)
        await self.gate.wait()
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def models(self) -> Any:
        if isinstance(self.rows, BaseException):
            raise self.rows
        return self.rows

    async def aclose(self) -> None:
        self.closed = True
        if isinstance(self.rows, BaseException):
            raise self.rows


class Bench:
    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        services = make_services(folder)
        assert isinstance(services.tasks, TaskRunner)
        self.tasks = services.tasks
        self.upload = Scripted(services)
        self.hub = Scripted(services)
        self.registry = self.made()

    def made(self, **settings: Any) -> SourceRegistry:
        chain = [("upload", self.upload), ("hub", self.hub)]
        return SourceRegistry(chain, self.tasks, Sources(**settings), self.clock)

    async def open(self, ref: ModelRef = REF, registry: SourceRegistry | None = None) -> Snapshot:
        async with (registry or self.registry).open(ref) as found:
            return found


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.upload.rows = made.hub.rows = ()
    await made.registry.aclose()
    await made.tasks.aclose()


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def fetch(run: Callable[[Progress], Awaitable[Any]]) -> Fetch:
    return Fetch(ModelKey("hub", "owner/name", "c1"), run)


class TestTheChain:
    async def test_the_first_that_has_it_serves_it(self, bench: Bench) -> None:
        bench.hub.answer = snapshot("hub")
        assert (await bench.open()).key.source == "hub"
        bench.registry.invalidate()
        bench.upload.answer = snapshot("upload")
        assert (await bench.open()).key.source == "upload"
        assert len(bench.hub.asked) == 1

    async def test_nobody_has_it(self, bench: Bench) -> None:
        with pytest.raises(
            ModelNotFound, match=r"^Model not found: owner/name@v1; GET /models lists"
        ):
            await bench.open(ModelRef("owner/name", "v1"))
        bench.hub.answer = snapshot("hub")
        assert (
            await bench.open(ModelRef("owner/name", "v1")) == bench.hub.answer
        )  # what was absent is asked for again

    async def test_a_prefix_asks_that_source_only(self, bench: Bench) -> None:
        bench.upload.answer = bench.hub.answer = snapshot("hub")
        ref = ModelRef("owner/name", source="hub")
        await bench.open(ref)
        assert (bench.upload.asked, bench.hub.asked) == ([], [ref])

    async def test_a_source_that_is_not_there(self, bench: Bench) -> None:
        with pytest.raises(ModelNotFound, match=r"no source x; there are: upload, hub\)"):
            await bench.open(ModelRef("owner/name", source="x"))
        with pytest.raises(ModelNotFound, match="no source x"):
            await bench.registry.describe(ModelRef("owner/name", source="x"))

    async def test_a_failure_stops_the_chain(self, bench: Bench) -> None:
        bench.upload.answer = OSError("/secret/path")
        bench.hub.answer = snapshot("hub")
        with pytest.raises(
            SourceError, match="Source upload failed to resolve owner/name"
        ) as caught:
            await bench.open()
        assert "secret" not in caught.value.message
        assert bench.hub.asked == []

    @pytest.mark.parametrize(
        "error", [SourceError("down"), InvalidModel("bad"), ModelNotFound("x")]
    )
    async def test_a_sources_own_errors_pass(self, bench: Bench, error: EmbedwellError) -> None:
        bench.upload.answer = error
        with pytest.raises(type(error), match=error.message):
            await bench.open()

    async def test_a_failure_may_be_skipped(self, bench: Bench) -> None:
        registry = bench.made(on_source_error="skip")
        bench.upload.answer = OSError()
        bench.hub.answer = snapshot("hub")
        assert (await bench.open(REF, registry)).key.source == "hub"
        bench.hub.answer = None
        with pytest.raises(SourceError, match="Source upload failed"):
            await bench.open(ModelRef("other"), registry)

    @pytest.mark.parametrize("junk", ["x", 0, False, [], object()])
    async def test_an_answer_that_is_none(self, bench: Bench, junk: object) -> None:
        bench.upload.answer = junk
        with pytest.raises(SourceError, match="Source upload gave no usable answer for owner/name"):
            await bench.open()

    async def test_a_source_that_never_answers(self, bench: Bench) -> None:
        bench.upload.gate.clear()
        with pytest.raises(SourceError, match=r"upload took longer than 0.01 s to resolve"):
            await bench.open(REF, bench.made(resolve_timeout=0.01))

    @pytest.mark.parametrize("error", [TimeoutError(), asyncio.CancelledError()], ids=repr)
    async def test_what_looks_like_our_own_doing(self, bench: Bench, error: BaseException) -> None:
        bench.upload.answer = error
        with pytest.raises(SourceError, match="Source upload failed to resolve owner/name"):
            await bench.open()

    async def test_a_resolve_that_is_not_async(self, bench: Bench) -> None:
        class Sync(Scripted):
            def resolve(self, ref: ModelRef) -> Any:
                return None

        bench.upload.__class__ = Sync
        with pytest.raises(SourceError, match="Source upload failed"):
            await bench.open()


class TestRemembering:
    async def test_an_answer_is_kept_as_long_as_it_says(self, bench: Bench) -> None:
        bench.hub.answer = snapshot("hub")
        await bench.open()
        bench.clock.now += 0.9
        await bench.open()
        assert len(bench.hub.asked) == 1
        bench.clock.now += 0.2
        await bench.open()
        assert len(bench.hub.asked) == 2

    async def test_many_at_once_ask_once(self, bench: Bench) -> None:
        bench.hub.answer = snapshot("hub")
        bench.hub.gate.clear()
        waiting = [asyncio.create_task(bench.open()) for _ in range(5)]
        await turns()
        waiting[0].cancel()
        await turns()
        bench.hub.gate.set()
        done = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        assert done[1:] == [bench.hub.answer] * 4
        assert len(bench.hub.asked) == 1

    async def test_all_who_wait_hear_of_a_failure(self, bench: Bench) -> None:
        bench.hub.answer = SourceError("down")
        bench.hub.gate.clear()
        waiting = [asyncio.create_task(bench.open()) for _ in range(3)]
        await turns()
        bench.hub.gate.set()
        assert {str(e) for e in await asyncio.gather(*waiting, return_exceptions=True)} == {"down"}

    async def test_when_all_leave_nothing_is_left_over(self, bench: Bench) -> None:
        bench.hub.answer = SourceError("nobody hears this")
        bench.hub.gate.clear()
        waiting = asyncio.create_task(bench.open())
        await turns()
        waiting.cancel()
        bench.hub.gate.set()
        await turns()
        bench.hub.answer = snapshot("hub")
        assert await bench.open() == snapshot("hub")

    async def test_an_answer_from_before_a_change_is_not_kept(self, bench: Bench) -> None:
        bench.hub.answer = snapshot("hub")
        bench.hub.gate.clear()
        waiting = asyncio.create_task(bench.open())
        await turns()
        bench.registry.invalidate()
        bench.hub.gate.set()
        await waiting
        await bench.open()
        assert len(bench.hub.asked) == 2


class TestFetching:
    async def test_requests_wait_for_one_fetch(self, bench: Bench) -> None:
        gate, runs = asyncio.Event(), []

        async def run(progress: Progress) -> Snapshot:
            runs.append(1)
            await gate.wait()
            return snapshot("hub")

        bench.hub.answer = fetch(run)
        waiting = [asyncio.create_task(bench.open()) for _ in range(3)]
        await turns()
        late = asyncio.create_task(bench.open())
        await turns()
        waiting[0].cancel()
        (task,) = bench.tasks.list()
        assert (task.kind, task.key) == ("download", "hub:owner/name@c1")
        gate.set()
        assert await asyncio.gather(*waiting[1:], late) == [snapshot("hub")] * 3
        assert await bench.open() == snapshot("hub")
        assert (len(runs), len(bench.hub.asked)) == (1, 1)

    async def test_the_download_goes_on_when_a_request_gives_up(self, bench: Bench) -> None:
        gate = asyncio.Event()

        async def run(progress: Progress) -> Snapshot:
            await gate.wait()
            return snapshot("hub")

        bench.hub.answer = fetch(run)
        registry = bench.made(load_timeout=0.01)
        with pytest.raises(Loading, match=r"^Model is being downloaded: owner/name$") as caught:
            await bench.open(REF, registry)
        assert caught.value.retry_after
        with pytest.raises(Loading):
            await bench.open(REF, registry)
        assert len(bench.hub.asked) == 1
        gate.set()
        (task,) = bench.tasks.list()
        await bench.tasks.result(task.id)
        bench.hub.answer = snapshot("hub")
        assert await bench.open(REF, registry) == snapshot("hub")

    @pytest.mark.parametrize(
        ("outcome", "error", "why"),
        [
            (SourceError("the Hub is down"), SourceError, "^the Hub is down$"),
            (InvalidModel("bad"), InvalidModel, "^bad$"),
            (
                OSError("/secret"),
                SourceError,
                "^Source hub failed to fetch owner/name; the server's",
            ),
            (TimeoutError(), SourceError, "^Source hub failed to fetch owner/name"),
            (asyncio.CancelledError(), SourceError, "^Source hub failed to fetch owner/name"),
            ("junk", SourceError, "fetched owner/name but gave no snapshot"),
        ],
    )
    async def test_a_fetch_that_fails(
        self, bench: Bench, outcome: object, error: type[EmbedwellError], why: str
    ) -> None:
        async def run(progress: Progress) -> Any:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        bench.hub.answer = fetch(run)
        with pytest.raises(error, match=why):
            await bench.open()

        async def better(progress: Progress) -> Snapshot:
            return snapshot("hub")

        bench.hub.answer = fetch(better)
        assert await bench.open() == snapshot("hub")

    async def test_a_fetch_that_is_cancelled(self, bench: Bench) -> None:
        async def run(progress: Progress) -> Snapshot:
            await asyncio.Event().wait()
            raise AssertionError

        bench.hub.answer = fetch(run)
        waiting = asyncio.create_task(bench.open())
        await turns()
        (task,) = bench.tasks.list()
        await bench.tasks.cancel(task.id)
        with pytest.raises(SourceError, match="The download was cancelled: owner/name"):
            await waiting


class TestListing:
    async def test_one_row_a_tag_and_whom_it_hides(self, bench: Bench) -> None:
        bench.upload.rows = [snapshot("upload", "a"), snapshot("upload", "a", "r0")]
        bench.hub.rows = [snapshot("hub", "b"), snapshot("hub", "a"), "junk"]
        rows = await bench.registry.models()
        shown = [(r.snapshot.key.name, r.snapshot.key.source, r.shadowed) for r in rows]
        assert shown == [("a", "upload", ("hub",)), ("b", "hub", ())]

    @pytest.mark.parametrize("rows", [OSError(), SourceError("x"), TimeoutError(), 5])
    async def test_a_source_that_fails_is_left_out(self, bench: Bench, rows: object) -> None:
        bench.upload.rows = rows
        bench.hub.rows = [snapshot("hub", "b")]
        assert [r.snapshot.key.name for r in await bench.registry.models()] == ["b"]

    async def test_describing_asks_no_source_to_resolve(self, bench: Bench) -> None:
        bench.upload.rows = [snapshot("upload"), snapshot("upload", revision="r0")]
        bench.hub.rows = [snapshot("hub")]
        describe = bench.registry.describe
        found = await describe(REF)
        assert (found.snapshot.key.source, found.shadowed) == ("upload", ("hub",))
        assert (await describe(ModelRef("owner/name", "r0"))).snapshot.key.revision == "r0"
        only = await describe(ModelRef("owner/name", source="hub"))
        assert (only.snapshot.key.source, only.shadowed) == ("hub", ())
        for absent in (ModelRef("x"), ModelRef("owner/name", "r9")):
            with pytest.raises(ModelNotFound):
                await describe(absent)
        assert bench.upload.asked == bench.hub.asked == []

    async def test_a_branch_in_use_can_be_described(self, bench: Bench) -> None:
        bench.hub.answer = snapshot("hub")
        ref = ModelRef("owner/name", "main")
        await bench.open(ref)
        assert (await bench.registry.describe(ref)).snapshot == snapshot("hub")


class TestClosing:
    async def test_every_source_is_closed(self, bench: Bench) -> None:
        bench.upload.rows = ConfigurationError(["x"])
        await bench.registry.aclose()
        assert bench.upload.closed
        assert bench.hub.closed

    async def test_who_waits_is_told(self, bench: Bench) -> None:
        bench.hub.gate.clear()
        waiting: Sequence[asyncio.Task[Any]] = [asyncio.create_task(bench.open()) for _ in range(2)]
        await turns()
        await bench.registry.aclose()
        for task in waiting:
            with pytest.raises(Draining, match="The server is stopping"):
                await task

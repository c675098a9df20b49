"""What a load is expected to take, what threads it may lose, and unloads that hang."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from msgspec import structs

from embedwell import report
from embedwell.cache.loading import Loaded, Overdue
from embedwell.errors import Loading, ModelError
from embedwell.interfaces.caches import Estimate, Need
from embedwell.interfaces.encoders import Batch, Trial
from embedwell.interfaces.models import Manifest, ModelKey, Snapshot
from embedwell.loads import LOADS, LOST, UNLOADS, BackendLoader
from embedwell.models.manifests import Manifests
from embedwell.state.costs import Cost, CostKey, Costs
from embedwell.state.database import Database
from embedwell.tasks.threads import BoundedThreads
from embedwell.testing import FakeBackend, FakeClock, FakeEncoder
from tests.core.cache.cache_bench import DTYPE, Bench, settled
from tests.core.tokenization.small_tokenizers import MANIFEST

A = Snapshot(Path("/nowhere/A"), ModelKey("test", "A", "1"), "abc")
SAMPLES = Batch(b"\1\0\0\0\2\0\0\0", (1, 1), (0, 0))
FROM_FILES = Need(1000, 100)  # what the fake backend makes of these files


@pytest.fixture
async def costs(tmp_path: Path) -> AsyncIterator[Costs]:
    database = await Database.open(tmp_path / "state.sqlite3")
    yield await Costs.open(database)
    await database.aclose()


def loader(
    costs: Costs,
    backend: FakeBackend | None = None,
    asked: list[str] | None = None,
    *,
    engine: str = "e",
    deadline: float = 60,
    patience: float = 30,
    clock: Callable[[], float] = time.monotonic,
) -> BackendLoader:
    """`asked` gets the names of models that samples are made for."""
    manifest = structs.replace(MANIFEST, bytes=FROM_FILES.weights)
    manifests = Manifests(BoundedThreads(1), lambda path: manifest)

    async def samples(snapshot: Snapshot, manifest: Manifest) -> Batch:
        if asked is not None:
            asked.append(snapshot.key.name)
        return SAMPLES

    return BackendLoader(
        backend or FakeBackend(),
        manifests,
        costs,
        engine=engine,
        samples=samples,
        deadline=deadline,
        patience=patience,
        clock=clock,
    )


@pytest.mark.parametrize(
    ("remembered", "expected"),
    [
        (Need(1300, 250), Need(1300, 100)),
        (Need(200, 2000), Need(200, 100)),
        (Need(10, 1), Need(10, 100)),
        (Need(2001, 100), Need(2000, 100)),
        (Need(900_000_000_000, 0), Need(2000, 100)),
    ],
)
async def test_measured_weights_are_believed_up_to_twice_the_files_and_no_peak(
    costs: Costs, remembered: Need, expected: Need
) -> None:
    costs.put(CostKey("abc", "float32", "fake", "e"), Cost(remembered.weights, 7.0))
    assert await loader(costs).estimate(A) == Estimate(expected, 7.0)


async def test_without_one_the_files_say(costs: Costs) -> None:
    assert await loader(costs).estimate(A) == Estimate(FROM_FILES)


async def test_a_load_replaces_what_was_remembered(costs: Costs) -> None:
    costs.put(CostKey("abc", "float32", "fake", "e"), Cost(900_000_000_000, 7.0))
    loads = loader(costs)
    await loads.load(A)
    assert (await loads.estimate(A)).need == FROM_FILES


async def test_the_wait_for_a_thread_is_no_part_of_a_load(costs: Costs) -> None:
    backend, clock = FakeBackend(), FakeClock()
    begun, free = threading.Barrier(LOADS + 1), threading.Event()
    backend.load_faults = {"held": lambda: (begun.wait(), free.wait())}
    loads = loader(costs, backend, clock=clock)
    held = structs.replace(A, path=Path("/nowhere/held"), digest="held")
    for each in (held, A):
        await loads.estimate(each)  # their manifests are known, so they begin in order
    tasks = [asyncio.create_task(loads.load(each)) for each in (*LOADS * [held], A)]
    await asyncio.to_thread(begun.wait)
    await settled()
    clock.now += 5
    free.set()
    assert [loaded.seconds for loaded in await asyncio.gather(*tasks)] == [*LOADS * [5.0], 0.0]
    assert (await loads.estimate(held)).seconds == 5
    assert (await loads.estimate(A)).seconds == 0


async def test_what_a_load_found_is_not_looked_for_again(costs: Costs) -> None:
    backend, asked = FakeBackend(), list[str]()
    loads = loader(costs, backend, asked)
    found = (await loads.load(A)).encoder.facts.verdict
    for _ in range(2):
        await loads.load(A)
    assert backend.trials == [Trial(samples=SAMPLES), *2 * [Trial(known=found)]]
    assert asked == ["A"], "samples are made only where they are used"


async def test_other_content_is_tried_anew(costs: Costs) -> None:
    backend = FakeBackend()
    loads = loader(costs, backend)
    await loads.load(A)
    changed = structs.replace(A, digest="def")
    await loads.load(changed)
    assert backend.trials == 2 * [Trial(samples=SAMPLES)]


async def test_another_precision_or_engine_is_tried_anew(costs: Costs) -> None:
    await loader(costs).load(A)
    backend = FakeBackend()
    backend.dtype = "bfloat16"
    await loader(costs, backend).load(A)
    await loader(costs, backend, engine="another").load(A)
    assert backend.trials == 2 * [Trial(samples=SAMPLES)]


async def test_a_measurement_of_an_earlier_version_has_found_nothing(costs: Costs) -> None:
    costs.put(CostKey("abc", "float32", "fake", "e"), Cost(1, 1.0))
    backend = FakeBackend()
    await loader(costs, backend).load(A)
    assert backend.trials == [Trial(samples=SAMPLES)]


async def test_a_load_that_failed_has_found_nothing(costs: Costs) -> None:
    backend = FakeBackend()
    backend.failures = [RuntimeError("broken")]
    loads = loader(costs, backend)
    with pytest.raises(RuntimeError, match="broken"):
        await loads.load(A)
    await loads.load(A)
    assert backend.trials == 2 * [Trial(samples=SAMPLES)]


def test_another_processor_is_another_engine() -> None:
    assert report.processor() in report.engine()


def test_measurements_of_another_version_of_ours_do_not_count() -> None:
    for name in ("embedwell", "torch", "transformers"):
        assert f"{name} {version(name)}" in report.engine()


class Stuck(FakeEncoder):
    """Its close returns when `free` is set."""

    def __init__(self, free: threading.Event) -> None:
        super().__init__()
        self._free = free

    def close(self) -> None:
        self._free.wait()
        super().close()


async def test_unloads_that_hang_hold_up_no_other(costs: Costs) -> None:
    loads, free = loader(costs), threading.Event()
    stuck = [asyncio.create_task(loads.unload(Stuck(free))) for _ in range(UNLOADS - 1)]
    try:
        encoder = FakeEncoder()
        await asyncio.wait_for(loads.unload(encoder), 10)
        assert encoder.closed
        assert not any(task.done() for task in stuck)
    finally:
        free.set()
        await asyncio.gather(*stuck)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
async def test_a_thread_that_would_end_the_process_fails_the_load(
    costs: Costs, error: BaseException
) -> None:
    backend = FakeBackend()
    backend.failures = [error]
    async with Bench(total=10_000) as bench:
        bench.cache._loader = loader(costs, backend)
        with pytest.raises(ModelError, match=r"^Model loading failed: A$"):
            async with asyncio.timeout(10), bench.cache.lease(A, DTYPE):
                pass
        assert bench.states() == {"A": "failed"}


@pytest.mark.parametrize("error", [None, OSError("gone"), SystemExit(1)])
async def test_a_load_that_takes_too_long_is_closed_when_it_comes(
    costs: Costs, error: BaseException | None
) -> None:
    backend = FakeBackend()
    backend.gate.clear()
    backend.failures = [] if error is None else [error]
    loads = loader(costs, backend, deadline=0.5)
    with pytest.raises(Overdue) as late:
        await loads.load(A)
    assert not late.value.ended.done()
    backend.gate.set()
    await asyncio.wait_for(late.value.ended, 30)
    assert [encoder.closed for encoder in backend.encoders] == ([True] if error is None else [])
    again = (await loads.load(A)).encoder
    assert isinstance(again, FakeEncoder)
    assert not again.closed


class Unforgetting(FakeBackend):
    """Fails when a model was unloaded."""

    def forget(self) -> None:
        raise OSError("gone")


@pytest.mark.parametrize("backend", [FakeBackend(), Unforgetting()], ids=["load", "unload"])
async def test_what_goes_wrong_after_a_load_was_given_up_is_logged(
    costs: Costs, caplog: pytest.LogCaptureFixture, backend: FakeBackend
) -> None:
    backend.gate.clear()
    backend.failures = [] if isinstance(backend, Unforgetting) else [OSError("gone")]
    with pytest.raises(Overdue) as late:
        await loader(costs, backend, deadline=0.5).load(A)
    backend.gate.set()
    await asyncio.wait_for(late.value.ended, 30)
    (record,) = caplog.records
    assert record.getMessage() == "loading A, given up before, ended in an error"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "gone"


async def test_loads_that_take_long_hold_up_no_other_before_they_are_given_up(
    costs: Costs,
) -> None:
    backend, free = FakeBackend(), threading.Event()
    begun = threading.Barrier(LOADS + 1)
    backend.load_faults = {"stuck": lambda: (begun.wait(), free.wait())}
    loads = loader(costs, backend, patience=0.1)
    stuck = structs.replace(A, path=Path("/nowhere/stuck"))
    slow = [asyncio.create_task(loads.load(stuck)) for _ in range(LOADS)]
    try:
        await asyncio.to_thread(begun.wait, 30)
        await asyncio.wait_for(loads.load(A), 30)
        assert not any(task.done() for task in slow)
    finally:
        free.set()
    assert all(isinstance(loaded, Loaded) for loaded in await asyncio.gather(*slow))


async def test_loads_that_hang_hold_up_no_other_until_they_are_many(costs: Costs) -> None:
    backend, free = FakeBackend(), threading.Event()
    backend.load_faults = {"stuck": free.wait}
    loads = loader(costs, backend, deadline=0.5)
    stuck = structs.replace(A, path=Path("/nowhere/stuck"))
    told = await asyncio.gather(
        *(loads.load(stuck) for _ in range(LOST - 1)), loads.load(A), return_exceptions=True
    )
    assert isinstance(told[-1], Loaded)
    late = [error.ended for error in told if isinstance(error, Overdue)]
    assert len(late) == LOST - 1
    with pytest.raises(Overdue) as last:
        await loads.load(stuck)
    with pytest.raises(Loading, match="earlier loads never ended"):
        await loads.load(A)
    free.set()
    await asyncio.wait_for(asyncio.gather(*late, last.value.ended), 30)
    assert isinstance(await loads.load(A), Loaded)

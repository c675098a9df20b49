"""The batcher against a real thread and a fake encoder."""

import asyncio
import threading
import time
import weakref
from array import array
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedwell.batching.batcher import Batcher
from embedwell.batching.jobs import Submitted
from embedwell.batching.room import Room
from embedwell.config.schema import Batching
from embedwell.errors import DeadlineExceeded, Draining, ModelError, OutOfMemory, Overloaded
from embedwell.interfaces.embedding import Tokens
from embedwell.interfaces.encoders import Batch
from embedwell.interfaces.events import BatchRun, Event, WorkerReplaced
from embedwell.testing import FakeEncoder
from embedwell.testing.devices import vector

POISON = 999


class Handle:
    """A lease that counts."""

    def __init__(self, encoder: FakeEncoder, name: str = "m") -> None:
        self.name = name
        self.encoder = encoder
        self.held = 0

    def hold(self) -> None:
        self.held += 1

    def release(self) -> None:
        self.held -= 1
        assert self.held >= 0


class Blocker:
    """A fault that says when it began, and goes on when told."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.began.set()
        self.go.wait()


class Bench:
    """A batcher and what it told."""

    def __init__(self, threads: int = 1, **changes: Any) -> None:
        self.events: list[Event] = []
        self.check: Callable[[], None] = lambda: None
        self.batcher = Batcher(
            Batching(**changes),
            device="fake",
            threads=threads,
            check=self._check,
            horizon=60,
            emit=self.events.append,
            clock=time.monotonic,
        )

    def _check(self) -> None:
        self.check()

    def proven(self) -> bool:
        return self.batcher.proven

    @property
    def runs(self) -> list[BatchRun]:
        return [event for event in self.events if isinstance(event, BatchRun)]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench(batch_timeout=0.2)
    yield made
    await made.batcher.aclose()


def tokens(*lists: list[int], skip: int = 0) -> Tokens:
    return Tokens(
        tuple(array("i", ids).tobytes() for ids in lists), tuple(len(ids) for ids in lists), skip
    )


def rows(answer: Submitted, count: int) -> np.ndarray[Any, Any]:
    out = np.full((count, answer.chunks[0].rows.shape[1]), np.nan, np.float32)
    for chunk in answer.chunks:
        out[list(chunk.indices)] = chunk.rows
    return out


def expected(lists: tuple[list[int], ...]) -> np.ndarray[Any, Any]:
    return np.stack([vector(array("i", ids).tobytes(), 8) for ids in lists])


async def check_served(bench: Bench, handle: Handle, count: int = 100) -> None:
    asked = [([i + 1], [i + 2, 3]) for i in range(count)]
    answers = await asyncio.gather(
        *(bench.batcher.submit(handle, tokens(*lists)) for lists in asked)
    )
    for lists, answer in zip(asked, answers, strict=True):
        np.testing.assert_array_equal(rows(answer, 2), expected(lists))


async def test_each_gets_its_own_rows_and_batches_are_shared(bench: Bench) -> None:
    handle = Handle(FakeEncoder(batch_tokens=64))
    await check_served(bench, handle, 64)
    assert max(run.items for run in bench.runs) > 1
    assert max(run.requests for run in bench.runs) > 1
    assert all(run.cost <= 64 for run in bench.runs)
    assert sum(run.items for run in bench.runs) == 128
    assert handle.held == 0


async def test_what_comes_while_the_device_is_busy_joins_the_batch_not_yet_begun(
    bench: Bench,
) -> None:
    slow = Blocker()
    handle = Handle(FakeEncoder(faults={7: slow}))
    first = asyncio.create_task(bench.batcher.submit(handle, tokens([7])))
    await asyncio.to_thread(slow.began.wait)
    later = []
    for i in range(10):
        later.append(asyncio.create_task(bench.batcher.submit(handle, tokens([i + 20]))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    slow.go.set()
    await asyncio.gather(first, *later)
    assert [run.items for run in bench.runs] == [1, 10]


async def test_one_text_waits_at_most_one_batch_behind_two_thousand(bench: Bench) -> None:
    slow = Blocker()
    handle = Handle(FakeEncoder(batch_tokens=64, faults={7: slow}))
    many = asyncio.create_task(bench.batcher.submit(handle, tokens([7], *[[5]] * 2047)))
    assert await asyncio.to_thread(slow.began.wait, 60)
    one = asyncio.create_task(bench.batcher.submit(handle, tokens([6])))
    while bench.batcher.queue().requests < 2 or bench.batcher._pump_due:
        await asyncio.sleep(0)
    slow.go.set()
    await one
    assert not many.done()
    await many
    assert [run.requests for run in bench.runs[:3]] == [1, 2, 1]


async def test_models_take_turns(bench: Bench) -> None:
    a, b = Handle(FakeEncoder(batch_tokens=4), "a"), Handle(FakeEncoder(batch_tokens=4), "b")
    both = [bench.batcher.submit(handle, tokens(*[[1]] * 16)) for handle in (a, b)]
    await asyncio.gather(*both)
    names = "".join(run.model for run in bench.runs)
    assert names == "abababab"


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)])
async def test_a_poisonous_text_fails_alone(bench: Bench, error: BaseException) -> None:
    def fail() -> None:
        raise error

    handle = Handle(FakeEncoder(faults={POISON: fail}))
    asked = [[i + 1] for i in range(31)] + [[POISON]]
    answers = await asyncio.gather(
        *(bench.batcher.submit(handle, tokens(ids)) for ids in asked), return_exceptions=True
    )
    assert isinstance(answers[-1], ModelError)
    for ids, answer in zip(asked[:-1], answers[:-1], strict=True):
        assert isinstance(answer, Submitted)
        np.testing.assert_array_equal(rows(answer, 1), expected((ids,)))
    await check_served(bench, handle)
    assert handle.held == 0


async def test_a_request_that_blocks_the_device_gets_a_deadline_and_nobody_else(
    bench: Bench,
) -> None:
    stuck = threading.Event()
    handle = Handle(FakeEncoder(faults={POISON: lambda: void(stuck.wait())}))
    asked = [[1], [POISON], [2]]
    answers = await asyncio.gather(
        *(bench.batcher.submit(handle, tokens(ids)) for ids in asked), return_exceptions=True
    )
    assert isinstance(answers[1], DeadlineExceeded)
    assert isinstance(answers[0], Submitted)
    assert isinstance(answers[2], Submitted)
    assert handle.held == 2, "a model stays held while a lost thread uses it"
    assert sum(isinstance(event, WorkerReplaced) for event in bench.events) == 2
    await check_served(bench, handle)
    stuck.set()
    while handle.held:
        await asyncio.sleep(0)


def void(_: object) -> None:
    """Make an expression a statement."""


async def test_a_batch_out_of_memory_is_halved_until_it_fits(bench: Bench) -> None:
    handle = Handle(FakeEncoder(capacity=100, batch_tokens=512))
    await check_served(bench, handle)
    assert any(run.outcome == "out_of_memory" for run in bench.runs)
    tail = bench.runs[-3:]
    assert all(run.cost <= 100 for run in tail), "the cap is remembered"


async def test_a_small_batch_out_of_memory_leaves_no_small_cap(bench: Bench) -> None:
    encoder = FakeEncoder(capacity=4)
    await bench.batcher.submit(Handle(encoder), tokens([1, 2], [3, 4], [5, 6]))
    encoder.capacity = None
    await bench.batcher.submit(Handle(encoder), tokens(*[[1, 2]] * 20))
    assert bench.runs[-1].items == 20


async def test_one_that_does_not_fit_alone_leaves_no_cap(bench: Bench) -> None:
    encoder = FakeEncoder(capacity=2)
    with pytest.raises(OutOfMemory):
        await bench.batcher.submit(Handle(encoder), tokens([1, 2, 3]))
    encoder.capacity = None
    await bench.batcher.submit(Handle(encoder), tokens([1, 2], [3, 4]))
    assert bench.runs[-1].items == 2


async def test_an_encoder_that_returns_nonsense_fails_who_asked(bench: Bench) -> None:
    class Nonsense(FakeEncoder):
        def encode(self, batch: Batch) -> Any:
            return None

    with pytest.raises(ModelError):
        await bench.batcher.submit(Handle(Nonsense()), tokens([1]))


@pytest.mark.parametrize("wrong", [(0, 8), (1, 7), (3, 8), (8,)])
async def test_rows_of_another_shape_fail_who_asked_and_nobody_else(
    bench: Bench, wrong: tuple[int, ...]
) -> None:
    class Odd(FakeEncoder):
        def encode(self, batch: Batch) -> Any:
            return np.zeros(wrong, np.float32)

    good = Handle(FakeEncoder(), "good")
    odd = bench.batcher.submit(Handle(Odd(), "odd"), tokens([1]))
    answers = await asyncio.gather(
        odd, *(bench.batcher.submit(good, tokens([i])) for i in range(1, 9)), return_exceptions=True
    )
    assert isinstance(answers[0], ModelError)
    assert all(isinstance(answer, Submitted) for answer in answers[1:])


async def test_a_thread_that_cannot_be_replaced_is_a_dead_device(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Blocker()
    handle = Handle(FakeEncoder(faults={POISON: slow}))
    first = asyncio.create_task(bench.batcher.submit(handle, tokens([POISON])))
    await asyncio.to_thread(slow.began.wait)

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    second = asyncio.create_task(bench.batcher.submit(handle, tokens([1])))
    told = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 30)
    assert [type(error) for error in told] == [ModelError, ModelError]
    assert "the system gives no other" in await bench.batcher.fatal
    slow.go.set()
    while handle.held:
        await asyncio.sleep(0)


async def test_a_thread_that_waits_keeps_nothing_of_its_last_batch(bench: Bench) -> None:
    class Row(np.ndarray[Any, Any]):
        """Can be referred to weakly."""

    seen: list[weakref.ref[Any]] = []

    class Seen(FakeEncoder):
        def encode(self, batch: Batch) -> Any:
            rows = super().encode(batch).view(Row)
            seen.append(weakref.ref(rows))
            return rows

    await bench.batcher.submit(Handle(Seen()), tokens([1]))
    async with asyncio.timeout(30):
        while seen[0]() is not None:
            await asyncio.sleep(0)


def test_work_that_would_be_late_is_refused() -> None:
    slow = Room(10**9, seconds=10)
    with slow.enter("a", 9_000, tokens_per_second=1_000) as loaded:
        loaded()
        with slow.enter("b", 1_000, tokens_per_second=1_000):
            pass
        with (
            slow.enter("b", 50_000, tokens_per_second=1_000),
            pytest.raises(Overloaded),
            slow.enter("b", 1, tokens_per_second=1_000),
        ):
            pass


def test_work_that_waits_for_another_model_delays_nobody() -> None:
    room = Room(10**9, seconds=10)
    with room.enter("cold", 11_000, tokens_per_second=1_000):
        with room.enter("b", 9_000, tokens_per_second=1_000) as loaded:
            loaded()
            loaded()
            with room.enter("b", 1_000, tokens_per_second=1_000):
                pass
            with pytest.raises(Overloaded), room.enter("cold", 1, tokens_per_second=1_000):
                pass
        assert room.total == 11_000
    assert room.total == 0


async def test_one_sequence_too_large_is_said_to_be(bench: Bench) -> None:
    handle = Handle(FakeEncoder(capacity=2))
    with pytest.raises(OutOfMemory):
        await bench.batcher.submit(handle, tokens([1, 2, 3]))


async def test_a_client_that_leaves_costs_the_others_nothing(bench: Bench) -> None:
    slow = Blocker()
    handle = Handle(FakeEncoder(faults={7: slow}))
    first = asyncio.create_task(bench.batcher.submit(handle, tokens([7])))
    await asyncio.to_thread(slow.began.wait)
    leaver = asyncio.create_task(bench.batcher.submit(handle, tokens([8])))
    stayer = asyncio.create_task(bench.batcher.submit(handle, tokens([9])))
    await asyncio.sleep(0)
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    slow.go.set()
    await asyncio.gather(first, stayer)
    ran = b"".join(batch.ids for batch in handle.encoder.batches)
    assert 8 not in np.frombuffer(ran, "<i4"), "dropped before it was planned"
    assert handle.held == 0


async def test_a_full_queue_refuses_and_an_empty_one_takes_anything() -> None:
    bench = Bench(max_queued_tokens=10)
    large = tokens([1] * 50)
    with bench.batcher.room("a", large):
        with pytest.raises(Overloaded) as refused, bench.batcher.room("b", tokens([1])):
            pass
        assert refused.value.retry_after
        assert refused.value.retry_after >= 1
    with bench.batcher.room("a", tokens([1] * 8)):
        with pytest.raises(Overloaded), bench.batcher.room("a", tokens([1])):
            pass
        with bench.batcher.room("b", tokens([1, 1])):
            pass
    assert bench.batcher.queued_tokens == 0
    await bench.batcher.aclose()


async def test_the_device_proves_itself_again_after_a_failure(bench: Bench) -> None:
    def fail() -> None:
        raise ValueError

    assert not bench.proven()
    await bench.batcher.prove()
    assert bench.proven()
    handle = Handle(FakeEncoder(faults={POISON: fail}))
    with pytest.raises(ModelError):
        await bench.batcher.submit(handle, tokens([POISON]))
    assert not bench.proven()
    bench.check = fail
    with pytest.raises(ModelError):
        await bench.batcher.prove()
    bench.check = lambda: None
    await bench.batcher.prove()
    assert bench.proven()


async def test_closing_fails_who_is_not_answered(bench: Bench) -> None:
    slow = Blocker()
    handle = Handle(FakeEncoder(faults={7: slow}))
    first = asyncio.create_task(bench.batcher.submit(handle, tokens([7])))
    await asyncio.to_thread(slow.began.wait)
    second = asyncio.create_task(bench.batcher.submit(handle, tokens([8])))
    await asyncio.sleep(0)
    await bench.batcher.aclose()
    for unanswered in (first, second):
        with pytest.raises(Draining):
            await unanswered
    with pytest.raises(Draining):
        await bench.batcher.submit(handle, tokens([9]))
    slow.go.set()
    while handle.held:
        await asyncio.sleep(0)


@given(st.lists(st.lists(st.lists(st.integers(1, 900), min_size=1, max_size=30), min_size=1, max_size=6), min_size=1, max_size=12), st.integers(1, 200), st.booleans())  # fmt: skip
@settings(max_examples=60)
def test_any_mix_of_requests_gets_its_own_rows_in_order(
    asked: list[list[list[int]]], budget: int, packed: bool
) -> None:
    async def scenario() -> None:
        bench = Bench()
        handle = Handle(FakeEncoder(batch_tokens=budget, packed=packed))
        answers = await asyncio.gather(
            *(bench.batcher.submit(handle, tokens(*lists)) for lists in asked)
        )
        for lists, answer in zip(asked, answers, strict=True):
            np.testing.assert_array_equal(rows(answer, len(lists)), expected(tuple(lists)))
        assert handle.held == 0
        await bench.batcher.aclose()

    asyncio.run(scenario())


def test_a_rate_seen_in_one_small_batch_refuses_nobody() -> None:
    slow = Room(10**9, seconds=10)
    with slow.enter("a", 3_900, tokens_per_second=3) as loaded:
        loaded()
        with slow.enter("b", 200, tokens_per_second=3) as loaded_too:
            loaded_too()
            with pytest.raises(Overloaded), slow.enter("c", 1, tokens_per_second=3):
                pass


async def test_a_fault_of_the_planning_leaves_nobody_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Blocker()
    handle = Handle(FakeEncoder(faults={7: slow}))
    first = asyncio.create_task(bench.batcher.submit(handle, tokens([7])))
    assert await asyncio.to_thread(slow.began.wait, 60)
    waiting = asyncio.create_task(bench.batcher.submit(handle, tokens([8])))
    while bench.batcher.queue().requests < 2:
        await asyncio.sleep(0)

    def fail(run: object) -> None:
        raise KeyError(run)

    with monkeypatch.context() as broken:
        broken.setattr(bench.batcher._queue, "restore", fail)
        proving = asyncio.create_task(bench.batcher.prove())
        for asked in (first, waiting, proving):
            with pytest.raises(ModelError):
                await asked
    slow.go.set()
    await check_served(bench, handle, 4)
    assert handle.held == 0
    assert not bench.batcher._offered

"""Random sequences of everything that can happen, on fake time."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from embedwell.cache.books import FRESH
from embedwell.cache.states import HOLDING, State
from embedwell.errors import EmbedwellError, InvalidModel, ModelError, OutOfMemory
from embedwell.interfaces.caches import CacheStrategy, Need
from embedwell.interfaces.encoders import DeviceOutOfMemory, Encoder
from embedwell.interfaces.models import ModelKey, ModelRef, Snapshot
from embedwell.testing import FakeEncoder
from embedwell_cache_fixed import strategy as fixed
from embedwell_cache_vram import strategy as vram
from tests.core.cache.cache_bench import DTYPE, Bench, Panic, model_key, settled, snapshot
from tests.core.cache.fake_time import FakeTimeLoop

TOTAL = 100
MODELS = "ABCDE"
NEEDS = {
    "A": Need(10, 2), "B": Need(25, 5), "C": Need(40, 10), "D": Need(60, 5), "E": Need(90, 20),
}  # fmt: skip
COMING = {State.RESERVED, State.LOADING}
ERRORS = [DeviceOutOfMemory("x"), InvalidModel("y"), Panic("z"), SystemExit(1)]
names = st.sampled_from(MODELS)


class Machine(RuleBasedStateMachine):
    """Requests are tasks that hold their lease until they are told to end, or cancelled."""

    def strategy(self) -> CacheStrategy:
        raise NotImplementedError

    @initialize(
        off=st.fixed_dictionaries(dict.fromkeys(MODELS, st.integers(-3, 8))),
        keep_alive=st.sampled_from([None, 20.0]),
    )
    def start(self, off: dict[str, int], keep_alive: float | None) -> None:
        self.loop = FakeTimeLoop()
        self.requests: list[tuple[asyncio.Task[None], asyncio.Event]] = []
        self.clears: list[asyncio.Task[Any]] = []
        self.held: Counter[int] = Counter()
        self.faults: list[str] = []
        self.places: Counter[str] = Counter()  # how often each model's content moved
        self.asked: dict[str, str] = {}  # the folder that the newest request named
        self.loop.run_until_complete(self._build(off, keep_alive))

    async def _build(self, off: dict[str, int], keep_alive: float | None) -> None:
        bench = self.bench = Bench(strategy=self.strategy(), total=TOTAL, keep_alive=keep_alive)
        bench.loader.needs = NEEDS
        bench.loader.measured = {
            name: Need(max(1, need.weights + off[name]), need.peak) for name, need in NEEDS.items()
        }
        self.others_when_quiet = [0]
        bench.loader.before_load = self._check_load
        bench.loader.before_unload = self._check_unload

    def _check_load(self, snapshot: Snapshot) -> None:
        """It begins where the content is now, and what is not there fails."""
        name, folder = snapshot.key.name, snapshot.path.parent.name
        if self.asked[name] != folder:
            self.faults.append(f"loads {name} from {folder}, asked for from {self.asked[name]}")
        self._check_admission()
        if folder != str(self.places[name]):
            raise InvalidModel("moved")

    def _check_admission(self) -> None:
        """What is held as a load begins fits in what was free when it was last measured.

        Others that load count as they were admitted: one that turned out larger pays for it next.
        """
        held = [r for r in self.bench.cache.residents() if r.state in HOLDING]
        needs = [NEEDS[r.tag] if r.state in COMING else r.need for r in held]
        reserved = sum(n.weights for n in needs) + max(n.peak for n in needs)
        if reserved > TOTAL - min(self.others_when_quiet):
            self.faults.append(f"{reserved} bytes admitted, others had {self.others_when_quiet}")

    def _check_unload(self, encoder: Encoder) -> None:
        if self.held[id(encoder)]:
            self.faults.append("evicted under a lease")

    # What clients do

    async def _request(self, name: str, end: asyncio.Event, demand: bool) -> None:
        found = snapshot(name, folder=f"/{self.places[name]}")
        self.asked[name] = found.path.parent.name
        try:
            async with self.bench.cache.lease(found, DTYPE, demand=demand) as lease:
                assert isinstance(lease.encoder, FakeEncoder)
                self.held[id(lease.encoder)] += 1
                try:
                    assert not lease.encoder.closed
                    await end.wait()
                    assert not lease.encoder.closed
                finally:
                    self.held[id(lease.encoder)] -= 1
        except (OutOfMemory, InvalidModel, ModelError):
            pass

    @rule(chosen=st.lists(names, min_size=1, max_size=5), demand=st.integers(0, 3).map(bool))
    def ask(self, chosen: list[str], demand: bool) -> None:
        for name in chosen:
            end = asyncio.Event()
            self.requests.append((self.loop.create_task(self._request(name, end, demand)), end))
        self._settle()

    @rule(name=names, seconds=st.sampled_from([0.0, 1.0]))
    def ask_shortly(self, name: str, seconds: float) -> None:
        end = asyncio.Event()
        self.requests.append((self.loop.create_task(self._request(name, end, True)), end))
        self.loop.call_later(seconds, end.set)
        self._settle()

    @rule(data=st.data(), count=st.integers(1, 4))
    @precondition(lambda self: self.requests)
    def finish(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            data.draw(st.sampled_from(self.requests))[1].set()
        self._settle()

    @rule(data=st.data(), at_once=st.booleans())
    @precondition(lambda self: self.requests)
    def cancel(self, data: st.DataObject, at_once: bool) -> None:
        data.draw(st.sampled_from(self.requests))[0].cancel()
        if not at_once:  # else the next thing happens in the same turn of the loop
            self._settle()

    # What the device does

    @rule(name=names, error=st.sampled_from(ERRORS))
    def fail_next(self, name: str, error: BaseException) -> None:
        self.bench.loader.failures.setdefault(name, []).append(error)

    @rule(seconds=st.sampled_from([0.0, 0.5, 4.0]), name=names)
    def slow(self, seconds: float, name: str) -> None:
        self.bench.loader.seconds[name] = seconds

    @rule(name=names)
    def move(self, name: str) -> None:
        """The same content, elsewhere: requests under way may still know the old place."""
        self.places[name] += 1

    @rule()
    def stop_loads(self) -> None:
        self.bench.loader.gate.clear()

    @rule()
    def stop_unloads(self) -> None:
        self.bench.loader.unload_gate.clear()

    @rule()
    def go_on(self) -> None:
        self.bench.loader.gate.set()
        self.bench.loader.unload_gate.set()
        self._settle()

    @rule(others=st.sampled_from([0, 0, 20, 80]))
    def others_take(self, others: int) -> None:
        self.bench.memory.others = others
        self.others_when_quiet.append(others)
        self.bench.clock.now += 2 * FRESH  # it could not be seen any sooner
        self._settle()

    @rule(seconds=st.sampled_from([0.3, 2.0, 7.0, 45.0]))
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self._settle()

    # What operators do

    @rule(chosen=st.none() | st.lists(names, max_size=2))
    def clear(self, chosen: list[str] | None) -> None:
        refs = None if chosen is None else [ModelRef(name) for name in chosen]
        self.clears.append(self.loop.create_task(self._clear(refs)))
        self._settle()

    async def _clear(self, refs: list[ModelRef] | None) -> None:
        await self.bench.cache.clear(refs)

    @rule(name=names)
    def clear_while_it_loads(self, name: str) -> None:
        self.bench.loader.gate.clear()
        self.ask([name], True)
        self.clear([name])
        self.bench.loader.gate.set()
        self._settle()

    @rule(name=names)
    def retire(self, name: str) -> None:
        self._now(self.bench.cache.retire, [model_key(name)])

    @rule(name=names)
    def revive(self, name: str) -> None:
        self._now(self.bench.cache.revive, [model_key(name)])

    @rule(name=names)
    def pin(self, name: str) -> None:
        self.bench.pinned ^= {name}

    @rule()
    def reclaim(self) -> None:
        self.clears.append(self.loop.create_task(self.bench.cache.reclaim()))
        self._settle()

    def _now(self, act: Callable[[list[ModelKey]], None], keys: list[ModelKey]) -> None:
        async def run() -> None:
            act(keys)

        self.loop.run_until_complete(run())
        self._settle()

    # What always holds

    def _settle(self) -> None:
        self.loop.run_until_complete(settled())
        self._settled()

    def _settled(self) -> None:
        still: list[tuple[asyncio.Task[None], asyncio.Event]] = []
        for task, end in self.requests:
            if not task.done():
                still.append((task, end))
            elif not task.cancelled():
                task.result()
        self.requests = still
        if self.bench.cache._books.quiet:
            self.others_when_quiet = [self.bench.memory.others]

    @invariant()
    def nothing_was_admitted_or_evicted_that_may_not(self) -> None:
        assert not self.faults

    @invariant()
    def what_was_dismissed_takes_no_new_leases(self) -> None:
        ready = [r for r in self.bench.cache.residents() if r.state is State.READY]
        assert not any(r.dismissed for r in ready)

    @invariant()
    def leases_are_those_that_are_held(self) -> None:
        if any(task.cancelling() for task, _ in self.requests):
            return
        leases = sum(r.leases for r in self.bench.cache.residents())
        assert leases == sum(self.held.values())

    @invariant()
    def the_ledger_is_exact_between_loads(self) -> None:
        books = self.bench.cache._books
        if books.quiet and not any(self.bench.loader.loading.values()):
            loaded = sum(r.need.weights for r in self.bench.cache.residents() if r.encoder)
            assert self.bench.memory.taken == loaded + sum(books.leaking.values())

    def teardown(self) -> None:
        if not hasattr(self, "bench"):
            return
        try:
            self.loop.run_until_complete(self._end())
        finally:
            self.loop.close()

    async def _end(self) -> None:
        bench = self.bench
        bench.memory.others = 0
        self.others_when_quiet.append(0)
        bench.loader.gate.set()
        bench.loader.unload_gate.set()
        bench.loader.failures.clear()
        tasks = [*(task for task, _ in self.requests), *self.clears]
        for _, end in self.requests:
            end.set()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=300)
            assert not pending, "somebody was left waiting"
        self._settled()
        assert not self.faults
        await asyncio.sleep(60)
        states = {r.state for r in bench.cache.residents()}
        assert states <= {State.READY, State.FAILED}, "nothing drains or loads when all is idle"
        assert not self.held.total()
        assert not any(r.leases or r.awaited for r in bench.cache.residents())
        bench.clock.now += 60
        await self._serves()
        await bench.cache.clear()
        assert bench.memory.taken == bench.cache.memory().reserved == 0
        await bench.cache.aclose()

    async def _serves(self) -> None:
        """After all that, a model that fits is served."""
        try:
            await self.bench.cache.clear()
            self.bench.loader.before_load = lambda snapshot: None
            await self.bench.use("A")
        except EmbedwellError as error:
            pytest.fail(f"not served: {error.message}")


class FixedMachine(Machine):
    def strategy(self) -> CacheStrategy:
        return fixed.FixedSize(fixed.Config(max_models=2))


class VramMachine(Machine):
    def strategy(self) -> CacheStrategy:
        return vram.VramAware(vram.Config())


@pytest.mark.parametrize("machine", [FixedMachine, VramMachine])
def test_random_sequences_keep_the_invariants(machine: type[Machine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=80,
            stateful_step_count=50,
            suppress_health_check=list(HealthCheck),
        ),
    )

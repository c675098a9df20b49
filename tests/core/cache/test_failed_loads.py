"""What a load that fails leaves behind: told waiters, free memory, and nothing of its frames."""

import asyncio
import gc
import weakref

import pytest

from embedwell.errors import EmbedwellError, InvalidModel, ModelError
from embedwell.interfaces.encoders import Encoder
from embedwell.interfaces.models import Snapshot
from embedwell.testing import FakeEncoder
from tests.core.cache.cache_bench import DTYPE, Bench, Panic, settled, snapshot
from tests.core.cache.fake_time import fake_time


async def use(bench: Bench, folder: str) -> None:
    async with bench.cache.lease(snapshot("A", folder=folder), DTYPE):
        pass


def only_in(bench: Bench, folder: str) -> list[str]:
    """Loads fail but from this folder; returns where they were tried from."""
    tried: list[str] = []

    def check(snapshot: Snapshot) -> None:
        tried.append(snapshot.path.parent.name)
        if tried[-1] != folder:
            raise InvalidModel("no such files")

    bench.loader.before_load = check
    return tried


@fake_time
async def test_content_that_moved_is_loaded_from_its_new_place_after_a_failure() -> None:
    async with Bench() as bench:
        tried = only_in(bench, "new")
        with pytest.raises(InvalidModel):
            await use(bench, "/old")
        await asyncio.sleep(10)
        await use(bench, "/new")
        assert tried == ["old", "new"]


@pytest.mark.parametrize("leased", [True, False])
@fake_time
async def test_and_in_its_next_life(leased: bool) -> None:
    async with Bench() as bench:
        tried = only_in(bench, "old")
        await use(bench, "/old")
        if leased:
            await bench.held.enter_async_context(
                bench.cache.lease(snapshot("A", folder="/old"), DTYPE)
            )
        bench.loader.unload_gate.clear()
        clear = asyncio.create_task(bench.cache.clear())
        await settled()
        assert bench.states() == {"A": "draining" if leased else "unloading"}
        late = asyncio.create_task(use(bench, "/new"))
        await settled()
        bench.loader.unload_gate.set()
        await bench.held.aclose()
        await clear
        with pytest.raises(InvalidModel):
            await late
        assert tried == ["old", "new"]


@pytest.mark.parametrize("error", [Panic("at src/lib.rs"), SystemExit(1), KeyboardInterrupt()])
@fake_time
async def test_a_load_that_would_end_the_process_is_a_failed_load(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async with Bench() as bench:
        bench.loader.failures["A"] = [error]
        with pytest.raises(ModelError, match=r"^Model loading failed: A$"):
            await asyncio.wait_for(bench.use("A"), 5)
        assert "loading A failed" in caplog.text
        assert bench.states() == {"A": "failed"}
        assert bench.cache.memory().reserved == 0
        await asyncio.sleep(10)
        await bench.use("A")


@pytest.mark.parametrize("error", [Panic("x"), SystemExit(1)])
@fake_time
async def test_an_unload_that_would_end_the_process_ends_an_unload(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async with Bench() as bench:
        await bench.use("A")

        def broken(encoder: Encoder) -> None:
            raise error

        bench.loader.before_unload = broken
        await bench.cache.clear()
        assert bench.states() == {}
        assert "unloading A failed" in caplog.text


@fake_time
async def test_a_remembered_failure_holds_nothing_of_the_load() -> None:
    loaded: list[weakref.ref[FakeEncoder]] = []

    def fails(snapshot: Snapshot) -> None:
        tensors = FakeEncoder()
        loaded.append(weakref.ref(tensors))
        try:
            raise RuntimeError("inner")
        except RuntimeError as error:
            raise InvalidModel("broken") from error

    async with Bench() as bench:
        bench.loader.before_load = fails
        with pytest.raises(InvalidModel, match="broken") as told:
            await bench.use("A")
        assert told.value.__cause__ is None
        del told
        await settled()
        gc.collect()
        assert bench.states() == {"A": "failed"}
        assert loaded[0]() is None


class Odd(EmbedwellError):
    """A plugin's error whose constructor takes other arguments than its base."""

    code = "ODD"

    def __init__(self, layer: int, shape: str) -> None:
        super().__init__(f"layer {layer} has {shape}", retry_after=3)


@fake_time
async def test_an_error_with_a_constructor_of_its_own_is_told_to_all() -> None:
    async with Bench() as bench:
        bench.loader.failures["A"] = [Odd(3, "7x7")]
        waits = [asyncio.create_task(bench.use("A")) for _ in range(2)]
        await settled()
        assert all(task.done() for task in waits)
        bench.clock.now -= 2
        waits.append(asyncio.create_task(bench.use("A")))
        await settled()
        errors = [task.exception() for task in waits]
        assert [str(error) for error in errors] == ["layer 3 has 7x7"] * 3
        assert all(isinstance(error, Odd) and error.retry_after == 3 for error in errors)
        assert len({id(error) for error in errors}) == 3

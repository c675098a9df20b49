"""The training source: which model of a run it serves, and what it notices."""

import asyncio
import json
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec
import pytest

from embedwell import (
    BaseServices,
    Fetch,
    Loading,
    ModelKey,
    ModelNotFound,
    ModelRef,
    ReadOnly,
    Snapshot,
    SourceError,
)
from embedwell.interfaces.services import Threads
from embedwell.models import manifest
from embedwell.tasks.runner import TaskRunner
from embedwell.testing import SourceContract, make_services
from embedwell.testing.contracts import SourceCase
from embedwell_source_training import source as source_module
from embedwell_source_training.plugin import register_sources
from embedwell_source_training.source import Config, TrainingSource
from tests.sources.training_runs import change, checkpoint, final, nested, plain, sharded

RUN = ModelRef("run")
Make = Callable[..., TrainingSource]
P = ParamSpec("P")
T = TypeVar("T")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def gone() -> list[ModelKey]:
    """The keys that the source said are served no more."""
    return []


@pytest.fixture
async def services(tmp_path: Path, gone: list[ModelKey]) -> AsyncIterator[BaseServices]:
    made = make_services(tmp_path / "own", changed=gone)
    yield made
    assert isinstance(made.tasks, TaskRunner)
    await made.tasks.aclose()


@pytest.fixture
async def make(runs: Path, services: BaseServices) -> Make:
    def build(wall: Callable[[], float] = time.time, **settings: Any) -> TrainingSource:
        values = {"directory": str(runs), "settle_seconds": 0} | settings
        return TrainingSource(msgspec.convert(values, Config), services, wall)

    return build


@pytest.fixture
def later() -> Callable[[], float]:
    """A wall clock long after the test's files were written."""
    return lambda: time.time() + 3_600


async def served(source: TrainingSource, tag: str = "run", revision: str | None = None) -> Snapshot:
    found = await source.resolve(ModelRef(tag, revision))
    assert isinstance(found, Snapshot), found
    return found


class TestContract(SourceContract):
    @pytest.fixture
    async def case(self, runs: Path, make: Make) -> SourceCase:
        final(runs / "owner" / "run")
        checkpoint(runs / "other", 5)
        return SourceCase(make(), ModelRef("owner/run"))


class TestContractOfAGoingRun(SourceContract):
    @pytest.fixture
    async def case(self, runs: Path, make: Make) -> SourceCase:
        checkpoint(runs / "run", 5)
        return SourceCase(make(), RUN, ModelRef("run", "checkpoint-4"))


@pytest.mark.parametrize("form", [final, plain, nested])
async def test_each_form_of_a_final_model(
    form: Callable[[Path], Path], runs: Path, make: Make
) -> None:
    form(runs / "run")
    form(runs / "other" / "final_model")
    source = make()
    listed = {snapshot.key.name: snapshot for snapshot in await source.models()}
    assert set(listed) == {"run", "other"}
    assert await served(source) == listed["run"]
    assert listed["other"].path == runs / "other" / "final_model"
    assert listed["run"].digest == listed["other"].digest
    assert manifest.read(listed["run"].path).dimensions == 8


async def test_shards_with_their_index(runs: Path, make: Make) -> None:
    sharded(runs / "run")
    assert (await served(make())).path == runs / "run"
    (runs / "run" / "model-00002-of-00002.safetensors").unlink()
    assert await make().resolve(RUN) is None


async def test_the_final_model_then_the_best_then_the_newest_checkpoint(
    runs: Path, make: Make
) -> None:
    run, source = runs / "owner" / "run", make()
    checkpoint(run, 900)
    checkpoint(run, 1000)
    assert (await served(source, "owner/run")).path.name == "checkpoint-1000"
    checkpoint(run, 1100, best="/elsewhere/another-name/checkpoint-900")
    assert (await served(source, "owner/run")).path.name == "checkpoint-900"
    shutil.rmtree(run / "checkpoint-900")
    assert (await served(source, "owner/run")).path.name == "checkpoint-1100"
    final(run / "model")
    assert (await served(source, "owner/run")).path.name == "model"
    final(run / "final", 2)
    assert (await served(source, "owner/run")).path.name == "final"
    final(run, 3)
    assert (await served(source, "owner/run")).path == run


async def test_a_checkpoint_that_is_being_written_is_passed_over(runs: Path, make: Make) -> None:
    checkpoint(runs / "run", 500)
    half = checkpoint(runs / "run", 1000, best="checkpoint-1000")
    data = (half / "model.safetensors").read_bytes()
    (half / "model.safetensors").write_bytes(data[:-1])
    source = make()
    assert (await served(source)).path.name == "checkpoint-500"
    assert await source.resolve(ModelRef("run", "checkpoint-1000")) is None
    (half / "model.safetensors").write_bytes(data)
    assert (await served(source)).path.name == "checkpoint-1000"
    (half / "trainer_state.json").write_text('{"best_model_che')
    assert (await served(source)).path.name == "checkpoint-1000"
    (half / "trainer_state.json").unlink()
    os.mkfifo(half / "trainer_state.json")  # who opened it would wait for ever
    assert (await served(source)).path.name == "checkpoint-1000"


async def test_a_revision_is_a_checkpoint_or_a_content(runs: Path, make: Make) -> None:
    for step in (1, 2):
        checkpoint(runs / "run", step)
    source = make()
    first, second = [await served(source, "run", f"checkpoint-{step}") for step in (1, 2)]
    assert first.key.revision == first.digest != second.digest
    assert await served(source) == second
    assert await served(source, "run", second.digest) == second
    assert await served(source, "run", first.digest) == first, "its content is known by now"
    assert await make().resolve(ModelRef("run", first.digest)) is None, "and here it is not"
    for other in ("0" * 64, "main", "checkpoint-3", "checkpoint-../..", "final"):
        assert await source.resolve(ModelRef("run", other)) is None


async def test_the_digest_covers_the_model_alone_and_as_a_plain_folder_has_it(
    runs: Path, make: Make, tmp_path: Path
) -> None:
    alone = Snapshot.of_folder(final(tmp_path / "alone", 7), "training", "run")
    folder = checkpoint(runs / "run", 7)
    for name in ("optimizer.pt", "rng_state.pth", "training_args.bin", "scheduler.pt"):
        (folder / name).unlink()
        os.mkfifo(folder / name)  # who opened it would wait for ever
    found = await served(make())
    assert found.key == alone.key
    assert found.fresh_for <= 2


async def test_a_run_trained_again_is_another_model(
    runs: Path, make: Make, gone: list[ModelKey]
) -> None:
    final(runs / "run")
    source = make()
    before = await served(source)
    change(runs / "run", 1)
    after = await served(source)
    assert after.key != before.key
    assert gone == [before.key]
    change(runs / "run", 0)
    assert [snapshot.key for snapshot in await source.models()] == [before.key]
    assert gone == [before.key, after.key]


async def test_a_run_removed_by_hand_is_noticed_by_either_question(
    runs: Path, make: Make, gone: list[ModelKey]
) -> None:
    for name in ("a", "b"):
        final(runs / name)
    source = make()
    a, b = [await served(source, name) for name in ("a", "b")]
    shutil.rmtree(runs / "a")
    assert await source.resolve(ModelRef("a")) is None
    assert gone == [a.key]
    shutil.rmtree(runs)
    assert await source.models() == []
    assert gone == [a.key, b.key]


async def test_a_key_that_another_name_of_it_still_serves_is_not_gone(
    runs: Path, make: Make, gone: list[ModelKey]
) -> None:
    checkpoint(runs / "run", 1)
    source = make()
    old = await served(source)
    assert await served(source, "run", "checkpoint-1") == old
    checkpoint(runs / "run", 2)
    await served(source)
    assert gone == []
    shutil.rmtree(runs / "run" / "checkpoint-1")
    await source.models()
    assert gone == [old.key]


async def test_it_is_read_only(runs: Path, make: Make) -> None:
    final(runs / "run")
    source = make()
    with pytest.raises(ReadOnly, match="read-only: training:run; remove its run's folder"):
        await source.delete(ModelRef("run", source="training"))
    assert await source.resolve(RUN) is not None


async def test_what_changed_just_now_is_not_there_yet(runs: Path, make: Make) -> None:
    final(runs / "run")
    now = time.time()
    source = make(lambda: now, settle_seconds=2)
    assert await source.resolve(RUN) is None
    assert await source.models() == []
    now += 3
    assert (await served(source)).path == runs / "run"


async def test_a_served_run_that_is_written_again_asks_for_patience(
    runs: Path, make: Make, gone: list[ModelKey]
) -> None:
    final(runs / "run")
    now = time.time() + 10
    source = make(lambda: now, settle_seconds=2)
    before = await served(source)
    now = time.time()
    change(runs / "run", 1)
    with pytest.raises(Loading, match="is being written by its training: run") as caught:
        await source.resolve(RUN)
    assert caught.value.retry_after == 2
    (runs / "run" / "tokenizer.json").unlink()
    with pytest.raises(Loading):
        await source.resolve(RUN)
    assert await source.models() == []
    assert gone == []
    now += 100  # nobody is writing any more: it is broken
    assert await source.resolve(RUN) is None
    assert gone == [before.key]


async def test_files_of_the_future_settle_when_they_stay_as_they_are(
    runs: Path, services: BaseServices
) -> None:
    final(runs / "run")
    os.utime(runs / "run" / "config.json", (4e9, 4e9))
    now = 0.0
    clock = msgspec.structs.replace(services, clock=lambda: now)
    source = TrainingSource(Config(str(runs), settle_seconds=2), clock)
    assert await source.resolve(RUN) is None
    now = 1.9
    assert await source.resolve(RUN) is None
    change(runs / "run", 1)
    now = 2.5
    assert await source.resolve(RUN) is None, "it changed meanwhile"
    now = 4.5
    assert await source.resolve(RUN) is not None


async def test_the_default_directory_is_below_the_data_directory(
    make: Make, services: BaseServices
) -> None:
    source = make(directory="")
    final(services.folder / "run")
    assert (await served(source)).path == services.folder.absolute() / "run"


async def test_a_directory_that_is_not_there_yet_has_no_models(runs: Path, make: Make) -> None:
    source = make()
    assert await source.resolve(RUN) is None
    assert await source.models() == []
    final(runs / "run")
    assert [snapshot.key.name for snapshot in await source.models()] == ["run"]


async def test_a_directory_that_cannot_be_read_is_a_failure(tmp_path: Path, make: Make) -> None:
    (tmp_path / "runs").write_text("a file")
    source = make()
    with pytest.raises(SourceError, match=r"^The training run run cannot be read: Not a directory"):
        await source.resolve(RUN)
    with pytest.raises(SourceError, match=r"^The directory of training runs cannot be read: Not a"):
        await source.models()


async def test_why_a_run_is_not_served_is_logged_once(
    runs: Path, make: Make, later: Callable[[], float], caplog: pytest.LogCaptureFixture
) -> None:
    final(runs / "broken")
    (runs / "broken" / "model.safetensors").unlink()
    source = make(later)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            await source.models()
    assert caplog.messages == ["no model is served from broken: model.safetensors is missing"]


async def test_a_large_model_is_read_by_a_task(
    runs: Path, make: Make, services: BaseServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "INLINE", 10)
    final(runs / "run")
    source = make()
    fetch = await source.resolve(RUN)
    assert isinstance(fetch, Fetch)
    seen: list[tuple[int, int | None]] = []
    snapshot = await fetch.run(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (fetch.size, fetch.size)
    assert await served(source) == snapshot
    (listed,) = await make().models()
    assert listed == snapshot
    assert [task.kind for task in services.tasks.list()] == ["reading"]


async def test_a_large_model_of_another_content_is_not_found(
    runs: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "INLINE", 10)
    final(runs / "run")
    fetch = await make().resolve(ModelRef("run", "0" * 64))
    assert isinstance(fetch, Fetch)
    with pytest.raises(ModelNotFound):
        await fetch.run(lambda done, total: None)


async def test_a_large_model_that_changes_while_it_is_read(
    runs: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "INLINE", 10)
    final(runs / "run")
    fetch = await make().resolve(RUN)
    assert isinstance(fetch, Fetch)
    change(runs / "run", 1)
    with pytest.raises(Loading, match="being written"):
        await fetch.run(lambda done, total: None)


class Meddling:
    """Threads that let something happen right after the source looked."""

    def __init__(self, threads: Threads, meddle: Callable[[], None]) -> None:
        self._threads = threads
        self._meddle = meddle

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        found = await self._threads.run(function, *args, **kwargs)
        if function.__name__ in ("_look", "_survey"):
            self._meddle()
        return found


@pytest.mark.parametrize("meddle", [lambda p: p.unlink(), lambda p: change(p.parent, 1)])
async def test_a_model_that_changes_between_looking_and_reading(
    runs: Path, services: BaseServices, meddle: Callable[[Path], None]
) -> None:
    weights = final(runs / "run") / "model.safetensors"
    threads = Meddling(services.threads, lambda: meddle(weights))
    source = TrainingSource(
        Config(str(runs), settle_seconds=0), msgspec.structs.replace(services, threads=threads)
    )
    with pytest.raises(Loading, match="being written"):
        await source.resolve(RUN)


async def test_a_run_that_cannot_be_read_leaves_the_others_listed(
    runs: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    final(runs / "good")
    final(runs / "run")
    long = [{"type": "x.Transformer", "path": "m" * 300}]  # more than a file system takes
    (runs / "run" / "modules.json").write_text(json.dumps(long))
    source = make()
    with pytest.raises(SourceError, match=r"^The training run run cannot be read: File name too"):
        await source.resolve(RUN)
    assert [snapshot.key.name for snapshot in await source.models()] == ["good"]
    assert "no model is served from run: it cannot be read: File name too long" in caplog.text


async def test_many_questions_at_once_agree(runs: Path, make: Make) -> None:
    final(runs / "run")
    source = make()
    found = await asyncio.gather(*(source.resolve(RUN) for _ in range(16)), source.models())
    digests = {s.digest for s in (*found[:-1], *found[-1]) if isinstance(s, Snapshot)}  # type: ignore[misc]
    assert len(digests) == 1


def test_the_plugin_registers_one_source() -> None:
    (spec,) = register_sources()
    assert (spec.name, spec.priority, spec.build) == ("training", 300, TrainingSource)


def test_settings_have_bounds() -> None:
    for values in ({"settle_seconds": -1}, {"directory": "a\x00b"}, {"directroy": "x"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(values, Config)

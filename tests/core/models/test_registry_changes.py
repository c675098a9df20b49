"""The registry when models change: aliases, deletion, holds, and what was under way."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from embedwell.config.schema import Sources
from embedwell.errors import ModelNotFound, ReadOnly, SourceError
from embedwell.interfaces.models import Fetch, ModelKey, ModelRef, Progress, Snapshot, Source
from embedwell.models.holds import Gone
from embedwell.models.registry import SourceRegistry
from embedwell.tasks.runner import TaskRunner
from embedwell.testing import FakeClock, make_services

NAME = "owner/name"


def snapshot(source: str, name: str = NAME, revision: str = "r1") -> Snapshot:
    return Snapshot(Path("/nowhere"), ModelKey(source, name, revision), "digest", fresh_for=100.0)


class Shelf(Source):
    """Keeps what a test puts on it."""

    rows: list[Snapshot]
    offer: Fetch | None = None

    async def resolve(self, ref: ModelRef) -> Snapshot | Fetch | None:
        for row in self.rows:
            if row.key.name == ref.name and ref.revision in (None, "main", row.key.revision):
                return row
        return self.offer

    async def models(self) -> list[Snapshot]:
        return self.rows

    async def delete(self, ref: ModelRef) -> Sequence[str] | None:
        gone = [r for r in self.rows if ref.revision in (None, r.key.revision)]
        self.rows = [r for r in self.rows if r not in gone]
        return None


class Unlisted(Shelf):
    """Serves what it does not list."""

    async def models(self) -> list[Snapshot]:
        return []


class Partly(Shelf):
    """Has what it may not delete: all but `r0`."""

    async def delete(self, ref: ModelRef) -> list[str]:
        await super().delete(ModelRef(ref.name, "r0"))
        return ["r0"]


class Broken(Shelf):
    """Lists nothing and resolves nothing."""

    async def resolve(self, ref: ModelRef) -> Snapshot | Fetch | None:
        raise SourceError("the disk of the uploads is away")

    async def models(self) -> list[Snapshot]:
        raise SourceError("the disk of the uploads is away")


class Bench:
    def __init__(self, folder: Path, **options: Any) -> None:
        services = make_services(folder)
        assert isinstance(services.tasks, TaskRunner)
        self.tasks = services.tasks
        self.upload, self.hub = Shelf(None, services), Shelf(None, services)
        self.upload.rows, self.hub.rows = [snapshot("upload")], [snapshot("hub")]
        chain = [("upload", self.upload), ("hub", self.hub)]
        settings = options.pop("settings", Sources())
        self.registry = SourceRegistry(chain, self.tasks, settings, FakeClock(), **options)

    async def serves(self, tag: ModelRef | str = NAME) -> str:
        ref = tag if isinstance(tag, ModelRef) else ModelRef(tag)
        async with self.registry.open(ref) as found:
            return str(found.key)


async def test_an_alias_stands_for_its_target_and_a_source_in_front_for_itself(
    tmp_path: Path,
) -> None:
    aliases = {"small": ModelRef(NAME, source="hub"), NAME: ModelRef("other")}
    bench = Bench(tmp_path, aliases=aliases)
    assert await bench.serves("small") == f"hub:{NAME}@r1"
    assert bench.registry.canonical(ModelRef("small", "r9")) == ModelRef(NAME, "r9", "hub")
    explicit = ModelRef(NAME, source="upload")
    assert bench.registry.canonical(explicit) == explicit
    listed = {row.alias or row.snapshot.key.name: row for row in await bench.registry.models()}
    assert listed["small"].snapshot.key.source == "hub"
    assert listed[NAME].alias is None
    assert (await bench.registry.describe(ModelRef("small"))).alias == "small"
    with pytest.raises(ModelNotFound, match="missing"):
        await bench.registry.describe(ModelRef("missing"))


async def test_names_that_are_listed_are_told(tmp_path: Path) -> None:
    told: list[str] = []
    bench = Bench(tmp_path, listed=told.extend)
    await bench.registry.models()
    assert told == [NAME]


async def deleted(bench: Bench, ref: ModelRef) -> tuple[str, list[str]]:
    key, revisions = await bench.registry.delete(ref)
    return str(key), [*revisions]


async def test_deleting_lets_the_next_source_serve(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.upload.rows.append(snapshot("upload", revision="r0"))
    assert await bench.serves() == f"upload:{NAME}@r1"
    assert await deleted(bench, ModelRef(NAME, "r1")) == (f"upload:{NAME}@r1", ["r1"])
    assert await bench.serves() == f"upload:{NAME}@r0"
    await bench.registry.delete(ModelRef(NAME))
    assert await bench.serves() == f"hub:{NAME}@r1"
    await bench.registry.delete(ModelRef(NAME, source="hub"))
    with pytest.raises(ModelNotFound):
        await bench.serves()
    with pytest.raises(ModelNotFound):
        await bench.registry.delete(ModelRef(NAME))


async def test_a_name_is_deleted_with_all_its_revisions(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.upload.rows.append(snapshot("upload", revision="r0"))
    assert await deleted(bench, ModelRef(NAME)) == (f"upload:{NAME}@r1", ["r1", "r0"])
    assert await bench.serves() == f"hub:{NAME}@r1"


@pytest.mark.parametrize("revision", [None, "r1", "main"])
async def test_where_a_source_fails_nothing_is_deleted_further_down(
    tmp_path: Path, revision: str | None
) -> None:
    bench = Bench(tmp_path)
    bench.upload.__class__ = Broken
    for ask in (bench.serves, bench.registry.delete):
        with pytest.raises(SourceError, match="the disk of the uploads is away"):
            await ask(ModelRef(NAME, revision))
    assert bench.hub.rows == [snapshot("hub")]
    await bench.registry.delete(ModelRef(NAME, source="hub"))
    assert bench.hub.rows == []


async def test_a_failure_that_requests_skip_is_skipped_for_a_deletion(tmp_path: Path) -> None:
    bench = Bench(tmp_path, settings=Sources(on_source_error="skip"))
    bench.upload.__class__ = Broken
    assert await deleted(bench, ModelRef(NAME)) == (f"hub:{NAME}@r1", ["r1"])


@pytest.mark.parametrize("revision", [None, "r1"])
async def test_a_source_that_does_not_list_what_it_serves_deletes_it(
    tmp_path: Path, revision: str | None
) -> None:
    bench = Bench(tmp_path)
    bench.upload.__class__ = Unlisted
    assert await deleted(bench, ModelRef(NAME, revision)) == (f"upload:{NAME}@r1", ["r1"])
    assert (bench.upload.rows, bench.hub.rows) == ([], [snapshot("hub")])
    assert await bench.serves() == f"hub:{NAME}@r1"


async def test_no_source_behind_the_one_that_lists_it_is_asked(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.hub.__class__ = Broken
    assert await deleted(bench, ModelRef(NAME)) == (f"upload:{NAME}@r1", ["r1"])


async def test_a_source_may_say_which_revisions_went(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.upload.rows.append(snapshot("upload", revision="r0"))
    bench.upload.__class__ = Partly
    assert await deleted(bench, ModelRef(NAME)) == (f"upload:{NAME}@r0", ["r0"])
    assert await bench.serves() == f"upload:{NAME}@r1"


async def test_an_alias_is_not_deleted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, aliases={"small": ModelRef(NAME)})
    with pytest.raises(ReadOnly, match="small is an alias"):
        await bench.registry.delete(ModelRef("small"))
    assert await bench.serves() == f"upload:{NAME}@r1"


async def test_a_model_deleted_between_the_answer_and_the_hold_is_asked_for_again(
    tmp_path: Path,
) -> None:
    held: list[str] = []

    @contextmanager
    def hold(found: Snapshot) -> Iterator[None]:
        if found.key.source == "upload":
            bench.upload.rows.clear()
            raise Gone(NAME)
        held.append(str(found.key))
        yield
        held.remove(str(found.key))

    bench = Bench(tmp_path, hold=hold)
    async with bench.registry.open(ModelRef(NAME)):
        assert held == [f"hub:{NAME}@r1"]
    assert held == []


async def test_a_model_that_is_always_gone_is_not_found(tmp_path: Path) -> None:
    def hold(found: Snapshot) -> AbstractContextManager[None]:
        raise Gone(NAME)

    with pytest.raises(ModelNotFound):
        await Bench(tmp_path, hold=hold).serves()


async def test_an_upload_during_a_download_is_served_from_then_on(tmp_path: Path) -> None:
    """Those who wait for the download get it; nobody later does."""
    go = asyncio.Event()
    bench = Bench(tmp_path)

    async def run(progress: Progress) -> Snapshot:
        await go.wait()
        return snapshot("hub")

    bench.upload.rows, bench.hub.rows = [], []
    bench.hub.offer = Fetch(ModelKey("hub", NAME, "r1"), run)
    waiting = asyncio.create_task(bench.serves())
    while not bench.tasks.list():
        await asyncio.sleep(0)
    bench.upload.rows = [snapshot("upload")]
    bench.registry.invalidate()
    assert await bench.serves() == f"upload:{NAME}@r1"
    go.set()
    assert await waiting == f"hub:{NAME}@r1"
    assert await bench.serves() == f"upload:{NAME}@r1"


async def test_a_branch_is_deleted_as_the_commit_that_it_names(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert await deleted(bench, ModelRef(NAME, "main")) == (f"upload:{NAME}@r1", ["r1"])
    assert bench.upload.rows == []
    bench.hub.rows, bench.hub.offer = [], Fetch(ModelKey("hub", NAME, "r1"), _never)
    with pytest.raises(ModelNotFound):
        await bench.registry.delete(ModelRef(NAME, "main"))


async def _never(progress: Progress) -> Snapshot:
    raise AssertionError("nothing is fetched to be deleted")

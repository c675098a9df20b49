"""Whoever names a model that is not there is told which one could have been meant."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedwell.config.schema import Sources
from embedwell.errors import ModelNotFound, SourceError
from embedwell.interfaces.models import ModelRef
from embedwell.models.near import COMPARED, FRESH, Known, Near, suggestion
from embedwell.models.registry import SourceRegistry
from embedwell.models.tag import parse
from embedwell.testing import FakeClock
from tests.core.models.test_registry import Bench, snapshot

LISTING = "GET /models lists those at hand"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    await made.registry.aclose()
    await made.tasks.aclose()


async def missed(registry: SourceRegistry, tag: str) -> str:
    with pytest.raises(ModelNotFound) as caught:
        async with registry.open(parse(tag)):
            pass
    assert caught.value.param == "model"
    return caught.value.message.removeprefix(f"Model not found: {tag}")


@pytest.mark.parametrize(
    ("tag", "hint"),
    [
        ("other", f"; {LISTING}"),
        ("name", f"; did you mean owner/name? {LISTING}"),
        ("Owner/Name", f"; did you mean owner/name? {LISTING}"),
        ("NAME@r7", f"; did you mean owner/name? {LISTING}"),
        ("me", f"; {LISTING}"),
        ("nam", f"; did you mean owner/name? {LISTING}"),
        ("ownr/Name", f"; did you mean owner/name? {LISTING}"),
        ("ownr/encoder", f"; {LISTING}"),
        ("encodr", f"; did you mean a/encoder? {LISTING}"),
        ("onyl", f"; {LISTING}"),
        ("owner/name@r7", "; it has no such revision: GET /models/owner/name lists those at hand"),
        ("upload:owner/name@r7", "; it has no such revision: GET /models/owner/name lists those at hand"),
        ("hub:owner/name@r1", f"; did you mean owner/name? {LISTING}"),
        ("encoder", f"; did you mean a/encoder or b/encoder or c/encoder? {LISTING}"),
        ("hub:only", f"; did you mean only? {LISTING}"),
    ],
)  # fmt: skip
async def test_a_name_that_is_missed(bench: Bench, tag: str, hint: str) -> None:
    bench.upload.rows = [snapshot("upload"), snapshot("upload", "only")]
    bench.hub.rows = [snapshot("hub", f"{owner}/encoder") for owner in "dbac"]
    assert await missed(bench.registry, tag) == hint


@pytest.mark.parametrize(
    ("tag", "meant"),
    [
        ("sentence-transformer/all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
        ("all-minilm-l6v2", "sentence-transformers/all-MiniLM-L6-v2"),
        ("some-modle", "some-model"),
    ],
)
async def test_typing_errors(bench: Bench, tag: str, meant: str) -> None:
    names = ("sentence-transformers/all-MiniLM-L6-v2", "some-model")
    bench.upload.rows = [snapshot("upload", name) for name in names]
    assert await missed(bench.registry, tag) == f"; did you mean {meant}? {LISTING}"


@pytest.mark.parametrize(
    ("tag", "told"),
    [
        ("owner/nmae", "Did you mean owner/name? The hub is away"),
        ("owner/name@r7", "The hub is away"),
        ("owner/other-words", "The hub is away"),
    ],
)
async def test_a_source_that_cannot_say(bench: Bench, tag: str, told: str) -> None:
    bench.upload.rows = [snapshot("upload")]
    bench.hub.answer = SourceError("The hub is away", retry_after=7)
    for _ in range(2):
        with pytest.raises(SourceError) as caught:
            async with bench.registry.open(parse(tag)):
                pass
        assert (caught.value.message, caught.value.retry_after) == (told, 7)


def test_only_so_many_names_are_compared() -> None:
    known = {f"name{n:04}": {"upload"} for n in range(COMPARED)} | {"zebra": {"upload"}}
    assert suggestion(ModelRef("zebar"), known) == ""
    assert suggestion(ModelRef("zebra"), {}) == ""
    assert suggestion(ModelRef("ZEBRA"), known) == "zebra"


async def test_the_listing_of_one_model_says_so_too(bench: Bench) -> None:
    bench.upload.rows = [snapshot("upload")]
    with pytest.raises(ModelNotFound, match="did you mean owner/name"):
        await bench.registry.describe(ModelRef("name"))
    assert bench.upload.asked == []


async def test_an_alias_is_meant_as_long_as_its_target_is_there(tmp_path: Path) -> None:
    made = Bench(tmp_path)
    aliases = {"small": ModelRef("owner/name")}
    chain = [("upload", made.upload)]
    registry = SourceRegistry(chain, made.tasks, Sources(), made.clock, aliases=aliases)
    assert await missed(registry, "SMALL") == f"; {LISTING}"
    made.upload.rows = [snapshot("upload")]
    registry.invalidate()
    assert await missed(registry, "SMALL") == f"; did you mean small? {LISTING}"
    await registry.aclose()
    await made.tasks.aclose()


class Listing:
    """Counts how often it was asked; `gate` holds it back."""

    def __init__(self) -> None:
        self.times = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Known:
        self.times += 1
        await self.gate.wait()
        return {"a/b": {"upload"}}


async def test_many_misses_list_the_models_now_and_then() -> None:
    clock, listing = FakeClock(), Listing()
    near = Near(listing, clock)
    for _ in range(50):
        assert "did you mean a/b?" in (await near.missing(ModelRef("b"))).message
    assert listing.times == 1
    near.forget()
    await near.missing(ModelRef("b"))
    assert listing.times == 2, "what is at hand has changed"
    clock.now += FRESH
    await near.missing(ModelRef("b"))
    assert listing.times == 3


async def test_a_listing_that_takes_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedwell.models.near.PATIENCE", 0.01)
    listing = Listing()
    listing.gate.clear()
    error = await Near(listing, FakeClock()).missing(ModelRef("b"))
    assert error.message == f"Model not found: b; {LISTING}"

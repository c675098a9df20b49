"""Questions to the Hub: what it does not have is not asked for again, and many wait in turn."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from embedwell import Fetch, ModelNotFound, ModelRef, Overloaded, SourceError
from embedwell.testing import FakeClock
from embedwell_source_huggingface.absences import REMEMBERED, Absences
from embedwell_source_huggingface.hub import QUESTIONS
from tests.sources.hub_bench import Bench, bench

LATER = "some-owner/later"


@pytest.fixture
async def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bench(tmp_path, monkeypatch) as made:
        yield made


async def test_a_no_holds_for_a_minute(case: Bench) -> None:
    source = case.make()
    for _ in range(3):
        assert await source.resolve(ModelRef(LATER)) is None
    assert len(case.hub.requests) == 1
    assert await source.resolve(ModelRef(LATER, "v2")) is None  # another question
    assert len(case.hub.requests) == 2
    case.add(LATER, 1)
    case.clock.now += 59
    assert await source.resolve(ModelRef(LATER)) is None
    case.clock.now += 2
    assert isinstance(await source.resolve(ModelRef(LATER)), Fetch)


async def test_a_download_by_hand_asks_all_the_same_and_forgets_the_no(case: Bench) -> None:
    source = case.make()
    assert await source.resolve(ModelRef(LATER)) is None
    with pytest.raises(ModelNotFound):
        await case.begin(source, model=LATER)
    case.add(LATER, 1)
    case.hub.status = 503
    with pytest.raises(SourceError, match="answered 503"):
        await case.begin(source, model=LATER)
    case.hub.status = 0
    assert isinstance(await source.resolve(ModelRef(LATER)), Fetch)


def test_not_every_no_is_kept() -> None:
    absences = Absences(FakeClock())
    for n in range(REMEMBERED + 1):
        absences.note(f"a/{n}", "main")
    assert not absences.known("a/0", "main")
    assert absences.known("a/1", "main")
    assert absences.known(f"a/{REMEMBERED}", "main")
    absences.forget("a/1")
    assert not absences.known("a/1", "main")


async def test_who_cannot_ask_is_not_told_that_the_hub_was_silent(case: Bench) -> None:
    case.hub.silent.set()
    source = case.make(timeout=1)
    names = [f"some-owner/m{n}" for n in range(QUESTIONS + 3)]
    asked = [source.resolve(ModelRef(name)) for name in names]
    errors = await asyncio.gather(*asked, return_exceptions=True)
    crowded = {name: e for name, e in zip(names, errors, strict=True) if isinstance(e, Overloaded)}
    assert len(crowded) == 3
    assert sum(isinstance(error, SourceError) for error in errors) == QUESTIONS
    for name, error in crowded.items():
        assert error.message == (
            f"Too many models are being looked up on the Hugging Face Hub: ask for {name} "
            "again in a moment"
        )
        assert error.retry_after == 5

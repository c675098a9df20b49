"""A sweep over servers: who is measured when, with which texts, and what is found."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from embedwell.bench import probe
from embedwell.bench.machine import machine
from embedwell.bench.report import notes, rows, servers
from embedwell.bench.results import Figures, Measured, Report, Settings
from embedwell.bench.supply import Form, Generated, Listed, Supply, Texts
from embedwell.bench.sweep import Server, Step, sweep
from embedwell.bench.target import target
from tests.core.bench.loopback import (
    ROW,
    Behaviour,
    Reply,
    Seen,
    answer,
    embeddings,
    refusal,
    right,
    serving,
)  # fmt: skip

SETTINGS = Settings(
    texts=None, unique=False, per_request=2, concurrency=(1, 3), seconds=0.1, warmup=0.1,
    rounds=2, encoding="base64", timeout=5.0,
)  # fmt: skip


class Watching:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.shares: list[float] = []
        self.found: list[Figures] = []

    def running(self, step: Step, share: float) -> None:
        self.shares.append(share)

    def ended(self, step: Step, found: Figures) -> None:
        self.steps.append(step)
        self.found.append(found)


async def swept(
    *behaviours: Behaviour, texts: Texts | None = None
) -> tuple[Report, Watching, list[Seen]]:
    watch = Watching()
    async with AsyncExitStack() as stack:
        running = [await stack.enter_async_context(serving(each)) for each in behaviours]
        made = [await met(each.url, texts or Generated()) for each in running]
        await sweep(made, SETTINGS, watch)
    return reported([server.measured() for server in made]), watch, running


async def met(url: str, texts: Texts) -> Server:
    form = Form(target(url), "", "tiny", "base64", SETTINGS.per_request)
    return Server(Supply(form, texts), await probe.facts(form, 5.0))


def reported(measured: Sequence[Measured]) -> Report:
    return Report(1, "now", "0", machine(), "asyncio", (), SETTINGS, False, tuple(measured))


def after(count: int, later: Behaviour) -> Behaviour:
    """Right for so many requests, another way then."""
    turn = iter(range(1_000_000))
    return lambda path, body: right(path, body) if next(turn) < count else later(path, body)


def floats(path: str, body: dict[str, Any]) -> Reply:
    return Reply(answer(200, embeddings(body | {"encoding_format": "float"})))


async def test_servers_take_turns_at_every_level() -> None:
    report, watch, (first, second) = await swept(right, right)
    order = [(step.concurrency, step.url) for step in watch.steps]
    turn = [first.url, second.url, first.url, second.url]
    assert order == [(1, url) for url in turn] + [(3, url) for url in turn]
    assert [(step.number, step.total) for step in watch.steps] == [(n, 8) for n in range(1, 9)]
    assert all(0 <= share <= 1 for share in watch.shares)
    assert [level.concurrency for level in report.servers[1].levels] == [1, 3]
    assert [len(level.rounds) for level in report.servers[1].levels] == [2, 2]


async def test_texts_are_distinct_and_the_same_for_all() -> None:
    _, _, running = await swept(right, right)
    first, second = ([text for body in s.bodies[1:] for text in body["input"]] for s in running)
    assert len(set(first)) == len(first)
    assert len(set(second)) == len(second)
    assert first[:6] == second[:6], "of one connection, which nobody overtakes"


async def test_rates_count_texts_and_tokens() -> None:
    report, _, _ = await swept(right)
    for level in report.servers[0].levels:
        found = level.figures
        assert found.errors == found.limited == 0
        assert found.texts_per_second == 2 * found.requests_per_second > 0
        assert found.tokens_per_second is not None
        assert (
            abs(found.tokens_per_second - 7 * found.texts_per_second)
            < 1e-6 * found.tokens_per_second
        )
        assert found.checked > 0
        assert found.seconds >= 2 * SETTINGS.seconds


async def test_wrong_answers_are_shown() -> None:
    def wrong(path: str, body: dict[str, Any]) -> Reply:
        return Reply(answer(200, embeddings(body, (*ROW, 0.0))))

    report, _, _ = await swept(right, after(1, wrong))
    assert report.servers[0].levels[0].figures.errors == 0
    found = report.servers[1].levels[0].figures
    assert [failure.kind for failure in found.failures] == [
        "wrong answer: a vector of 5 dimensions"
    ]
    assert found.errors == found.checked > 0
    assert f"B, 1 connections: {found.errors} × wrong answer: a vector of 5 dimensions" in notes(
        report
    )


async def test_the_table_sets_servers_side_by_side() -> None:
    report, _, running = await swept(right, after(1, lambda p, b: refusal(500, "out\x1b of order")))
    assert [row[:2] for row in rows(report)] == [("A", "1"), ("B", "1"), ("A", "3"), ("B", "3")]
    good, bad = rows(report)[:2]
    assert good[-1] == "1.00"
    assert good[9:11] == ("0", "0")
    assert bad[5:9] == ("-",) * 4
    assert bad[-1] == "0.00"
    assert servers(report)[1] == ("B", running[1].url, "tiny", "4 dimensions, base64")
    assert any(note.endswith("× status 500: out  of order") for note in notes(report))


async def test_repeated_texts_and_another_encoding_are_noted() -> None:
    report, _, _ = await swept(floats, texts=Listed(["a", "b", "c"], unique=False))
    assert report.servers[0].repeated
    assert notes(report) == [
        "A: the file has too few texts: some were sent again, and a server may remember them",
        "A: answers float where base64 was asked for",
    ]

"""Servers in turn, level by level and round by round."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from embedwell.bench.answers import Facts, WrongAnswer, check
from embedwell.bench.figures import Checked, figures
from embedwell.bench.load import load
from embedwell.bench.results import Figures, Level, Measured, Settings
from embedwell.bench.supply import Supply
from embedwell.bench.window import Seen, Window

SAMPLE = 400  # texts whose vectors are checked per window
SPARE = 1.2  # a level may be faster than its warm-up
TICK = 0.5  # seconds between two signs of life


class Step(Struct, frozen=True):
    """One window: `number` of `total`, counted from 1."""

    number: int
    total: int
    url: str
    concurrency: int


class Watch(Protocol):
    """Who is told how far it is; all is called on the loop."""

    def running(self, step: Step, share: float) -> None:
        """`share` of this step's time is over, 0 to 1."""

    def ended(self, step: Step, found: Figures) -> None:
        """The figures of this step alone."""


class Server:
    """One server and what was seen of it, by level; `windows` fills while `sweep` runs."""

    def __init__(self, supply: Supply, shown: Facts) -> None:
        self.supply = supply
        self.facts = shown
        self.windows: dict[int, list[Checked]] = {}

    def measured(self) -> Measured:
        """What there is so far."""
        form = self.supply.form
        levels = tuple(self._level(each, form.per_request) for each in self.windows)
        return Measured(
            url=form.target.url,
            model=form.model,
            dimensions=self.facts.dimensions,
            encoding=self.facts.encoding,
            repeated=self.supply.repeated,
            levels=levels,
        )

    def _level(self, concurrency: int, texts: int) -> Level:
        windows = self.windows[concurrency]
        rounds = tuple(figures([window], texts) for window in windows)
        return Level(concurrency, figures(windows, texts), rounds)


async def sweep(servers: Sequence[Server], settings: Settings, watch: Watch) -> None:
    """Every level, in every round, of each server in turn; leaves what was found with the servers.

    A server is warmed up before each window, for the others had the processors meanwhile.
    """
    turns = [
        (concurrency, server)
        for concurrency in settings.concurrency
        for _ in range(settings.rounds)
        for server in servers
    ]
    for number, (concurrency, server) in enumerate(turns, 1):
        step = Step(number, len(turns), server.supply.form.target.url, concurrency)
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(_tick(watch, step, settings))
            window = await _window(server, concurrency, settings)
            ticking.cancel()
        server.windows.setdefault(concurrency, []).append(window)
        watch.ended(step, figures([window], settings.per_request))


async def _tick(watch: Watch, step: Step, settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    begun, expected = loop.time(), settings.warmup + settings.seconds
    while True:
        watch.running(step, min(1.0, (loop.time() - begun) / expected))
        await asyncio.sleep(TICK)


async def _window(server: Server, concurrency: int, settings: Settings) -> Checked:
    supply, per_request = server.supply, settings.per_request
    warm = await _load(server, concurrency, settings.warmup, settings.timeout, SAMPLE)
    expected = figures([Checked(warm, 0, {})], per_request).requests_per_second * settings.seconds
    supply.prepare(round(expected * SPARE) + 2 * concurrency)
    every = max(1, round(expected) * per_request // SAMPLE)
    seen = await _load(server, concurrency, settings.seconds, settings.timeout, every)
    return _checked(seen, per_request, server.facts.dimensions)


async def _load(
    server: Server, concurrency: int, seconds: float, patience: float, every: int
) -> Seen:
    window = Window(server.supply.take, concurrency, seconds, every)
    return await load(server.supply.form.target, window, concurrency, patience)


def _checked(seen: Seen, texts: int, dimensions: int) -> Checked:
    wrong: dict[int, str] = {}
    for place, body in seen.samples.items():
        try:
            check(body, texts, dimensions)
        except WrongAnswer as error:
            wrong[place] = str(error)
    checked = len(seen.samples)
    seen.samples.clear()
    return Checked(seen, checked, wrong)

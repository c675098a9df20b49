"""Every engine on the same texts, round by round in turn, one at a time."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from msgspec import Struct, structs

from tests.benchmarks.engines.catalogue import BASELINE, Entry, Kind
from tests.benchmarks.engines.engine import Rows, Setting
from tests.benchmarks.speed.arithmetic import cosines, spearman
from tests.benchmarks.speed.progress import Progress, Step
from tests.benchmarks.speed.protocol import Done, Round
from tests.benchmarks.speed.results import Found
from tests.benchmarks.speed.texts import Pair
from tests.benchmarks.speed.workers import NotAvailable, Worker, started

ALONE = 100  # short texts, each by itself


class Matter(Struct, frozen=True):
    """What is embedded: texts of so many tokens together, and short ones, each by itself."""

    texts: Sequence[str]
    tokens: int
    short: Sequence[str]
    pairs: Sequence[Pair]
    rounds: int


class Place(Struct, frozen=True):
    """Interpreters by kind of engine, and what the engines find; each has room below `scratch`."""

    pythons: Mapping[Kind, Path]
    setting: Setting

    def of(self, number: int) -> Setting:
        return structs.replace(self.setting, scratch=self.setting.scratch / str(number))


def steps(entries: Sequence[Entry], matter: Matter) -> list[Step]:
    """What `run` will announce."""
    return [
        *(Step("load", entry.name, 7) for entry in entries),
        *(
            Step(_round(number, matter), entry.name, matter.tokens / entry.speed)
            for number in range(matter.rounds)
            for entry in entries
        ),
        *(Step("short texts alone", entry.name, ALONE / 100) for entry in entries),
    ]


def _round(number: int, matter: Matter) -> str:
    return f"round {number + 1} of {matter.rounds}"


class Contest:
    """Keeps what was found of each engine; one that fails is out, and the rest go on."""

    def __init__(self, entries: Sequence[Entry], matter: Matter, progress: Progress) -> None:
        self._entries = entries
        self._matter = matter
        self._progress = progress
        self._workers: dict[str, Worker] = {}
        self._rows: dict[str, Rows] = {}
        self._found = {entry.name: Found(entry.name, entry.setup) for entry in entries}
        self.versions: dict[str, str] = {}

    def run(self, place: Place) -> list[Found]:
        """In the order of the entries."""
        with ExitStack() as stack:
            for number, entry in enumerate(self._entries):
                self._start(entry, place.pythons[entry.kind], place.of(number), stack)
            for number in range(self._matter.rounds):
                self._round(number)
            self._alone()
        return [self._judged(found) for found in self._found.values()]

    def _start(self, entry: Entry, python: Path, setting: Setting, stack: ExitStack) -> None:
        self._progress.begin("load", entry.name)
        try:
            worker = stack.enter_context(started(entry, python, setting))
        except NotAvailable as error:
            self._out(entry.name, str(error))
        else:
            self._workers[entry.name] = worker
            self.versions |= worker.versions

    def _round(self, number: int) -> None:
        for name in list(self._workers):
            self._progress.begin(_round(number, self._matter), name)
            done = self._ask(name, Round(self._matter.texts, rows=number == 0))
            if done is not None:
                self._progress.learn(name, done.seconds[0])
                seconds = [*self._found[name].seconds, *done.seconds]
                self._keep(name, seconds=seconds, peak=done.peak)

    def _alone(self) -> None:
        for name in list(self._workers):
            self._progress.begin("short texts alone", name)
            done = self._ask(name, Round(self._matter.short, alone=True))
            if done is not None:
                self._keep(name, alone=done.seconds)

    def _ask(self, name: str, what: Round) -> Done | None:
        try:
            done = self._workers[name].ask(what)
        except NotAvailable as error:
            self._out(name, str(error))
            return None
        if what.rows:
            self._rows[name] = np.frombuffer(done.rows, "<f4").reshape(-1, done.dimensions)
        return done

    def _out(self, name: str, reason: str) -> None:
        self._workers.pop(name, None)
        self._progress.drop(name)
        self._keep(name, missing=reason, seconds=(), alone=())

    def _keep(self, name: str, **values: object) -> None:
        self._found[name] = structs.replace(self._found[name], **values)

    def _judged(self, found: Found) -> Found:
        rows, reference = self._rows.get(found.name), self._rows.get(BASELINE)
        if found.missing or rows is None:
            return found
        likeness = cosines(rows, reference) if reference is not None else None
        return structs.replace(
            found,
            cosine_mean=None if likeness is None else float(likeness.mean()),
            cosine_min=None if likeness is None else float(likeness.min()),
            correlation=self._correlation(rows),
        )

    def _correlation(self, rows: Rows) -> float | None:
        pairs = self._matter.pairs
        if not pairs:
            return None
        place = {text: number for number, text in enumerate(self._matter.texts)}
        left = rows[[place[pair.left] for pair in pairs]]
        right = rows[[place[pair.right] for pair in pairs]]
        return spearman(cosines(left, right), [pair.score for pair in pairs])

"""One comparison from its exports to its outcome, step by step."""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from msgspec import Struct

from embedwell.bench.texts import generated
from tests.benchmarks.engines.catalogue import ENTRIES, Entry, Kind
from tests.benchmarks.engines.engine import Setting
from tests.benchmarks.speed import contest, growth, model, servers, texts
from tests.benchmarks.speed.arithmetic import Shape
from tests.benchmarks.speed.contest import ALONE, Contest, Matter, Place
from tests.benchmarks.speed.machine import Busyness, machine
from tests.benchmarks.speed.owned import owned
from tests.benchmarks.speed.progress import Progress, Step
from tests.benchmarks.speed.results import Cost, Found, Load, Outcome, Texts
from tests.benchmarks.speed.servers import LEVELS, SECONDS, WARMUP, Running
from tests.benchmarks.speed.workers import NotAvailable

RIVALS, INFINITY = Path(".venv-bench"), Path(".venv-infinity")
PYTHONS: dict[Kind, Path] = {
    "ours": Path(sys.executable),
    "rival": RIVALS.resolve() / "bin" / "python",
}
SERVED = {"ours fp32": "float32", "ours bf16": "bfloat16"}  # engines that are also served
SHORT_POOL = 20_000  # generated texts among which the short ones are found
SHORT_SEED = 2
SHORT_COUNT = 500
RIVAL = "infinity"


class Order(Struct, frozen=True):
    """What is to be compared on; `file` is None for generated texts."""

    file: Path | None
    texts: Sequence[str]
    model: Path
    rounds: int
    full: bool
    command: str


class Run:
    """Collects what an outcome needs; `room` is a folder that is removed afterwards."""

    def __init__(self, order: Order, room: Path) -> None:
        self._order = order
        self._room = room
        self._counter = model.Counter(order.model)
        self._shape = model.shape(order.model)
        lengths = self._counter.lengths(order.texts)
        self._short = self._short_texts()
        self._matter = Matter(
            texts=order.texts,
            tokens=sum(lengths),
            short=self._short[:ALONE],
            pairs=texts.pairs(order.file, order.texts),
            rounds=order.rounds,
        )
        self._longest = max(lengths)
        self._progress = Progress(self._steps())
        self._absent: dict[str, str] = {}

    def _short_texts(self) -> list[str]:
        pool = generated(SHORT_POOL, SHORT_SEED)
        return texts.short(pool, self._counter.lengths(pool), SHORT_COUNT)

    def _steps(self) -> list[Step]:
        level = SECONDS + WARMUP + 0.5
        return [
            Step("export", "graphs for the rivals", 25),
            Step("measure", "the machine's product rate", 5),
            *contest.steps(ENTRIES, self._matter),
            *(step for entry in self._grown() for step in growth.steps(entry)),
            *(Step("start server", name, 8) for name in (*SERVED, RIVAL)),
            Step("load servers", "all texts", level * len(LEVELS) * 3),
            Step("load servers", "short texts", level * 3),
        ]

    def _grown(self) -> list[Entry]:
        return [entry for entry in ENTRIES if entry.kind == "ours" and self._order.full]

    def outcome(self) -> Outcome:
        """Takes minutes; what cannot be had is in it with its reason."""
        began, busyness = time.monotonic(), Busyness()
        started = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        self._export()
        limits = self._limits()
        setting = self._setting()
        met = Contest(ENTRIES, self._matter, self._progress)
        found = met.run(Place(PYTHONS, setting))
        costs = self._costs(found, setting)
        loads = self._loads(found)
        return Outcome(
            started=started,
            command=self._order.command,
            seconds=time.monotonic() - began,
            machine=machine(),
            versions=met.versions | {"embedwell": version("embedwell")},
            texts=self._described(),
            flops_per_token=self._shape.flops_per_token(),
            limits=limits,
            engines=found,
            loads=loads,
            absent=self._absent,
            others=busyness.others(),
            costs=costs,
        )

    def _setting(self) -> Setting:
        cores = machine().cores
        return Setting(self._order.model, self._room / "exports", self._room / "engines", cores)

    def _described(self) -> Texts:
        source = self._order.file.name if self._order.file else "generated"
        return Texts(source, len(self._order.texts), self._matter.tokens, self._longest)

    def _export(self) -> None:
        self._progress.begin("export", "graphs for the rivals")
        target = self._room / "exports"
        target.mkdir()
        command = [
            PYTHONS["rival"], "-m", "tests.benchmarks.engines.exports", self._order.model, target
        ]  # fmt: skip
        log = self._room / "export.log"
        with log.open("wb") as out, owned(command, log=log, output=cast(BinaryIO, out)) as process:
            process.communicate(msgspec.json.encode(texts.calibration()))
            if process.returncode != 0:
                print(f"The exports failed: {_last(log)}", file=sys.stderr)

    def _limits(self) -> dict[str, float]:
        self._progress.begin("measure", "the machine's product rate")
        shape: Shape = self._shape
        sizes = str(shape.hidden_size), str(shape.intermediate_size)
        command = [sys.executable, "-m", "tests.benchmarks.speed.limit", *sizes]
        with owned(command, log=self._room / "limit.log") as process:
            assert process.stdout is not None
            said = process.stdout.read()
        return msgspec.json.decode(said or b"{}", type=dict[str, float])

    def _costs(self, found: Sequence[Found], setting: Setting) -> list[Cost]:
        able = {item.name for item in found if item.seconds}
        costs: list[Cost] = []
        for entry in self._grown():
            if entry.name in able:
                own = msgspec.structs.replace(
                    setting, scratch=self._room / "grown" / entry.precision
                )
                try:
                    costs += growth.run(entry, PYTHONS["ours"], own, self._progress)
                except NotAvailable as error:
                    self._absent[f"{entry.name} at 100,000 texts"] = str(error)
        return costs

    def _loads(self, found: Sequence[Found]) -> list[Load]:
        folder = self._room / "servers"
        folder.mkdir()
        short = folder / "short.txt"
        short.write_text("\n".join(self._short))
        able = {item.name for item in found if item.seconds}
        with ExitStack() as stack:
            up = [*self._ours(able, stack), *self._infinity(stack)]
            return [
                *self._load(up, LEVELS, self._order.file, "all"),
                *self._load(up, [1], short, "short"),
            ]

    def _ours(self, able: set[str], stack: ExitStack) -> list[Running]:
        up = []
        for name, precision in SERVED.items():
            if name in able:
                self._progress.begin("start server", name)
                room = self._room / "servers" / precision
                try:
                    up.append(stack.enter_context(servers.embedwell(precision, room)))
                except NotAvailable as error:
                    self._absent[f"embedwell {precision}"] = str(error)
        return up

    def _infinity(self, stack: ExitStack) -> list[Running]:
        self._progress.begin("start server", RIVAL)
        room = self._room / "servers" / RIVAL
        try:
            return [
                stack.enter_context(servers.infinity(INFINITY.resolve(), self._order.model, room))
            ]
        except NotAvailable as error:
            self._absent[RIVAL] = str(error)
            return []

    def _load(
        self, up: Sequence[Running], levels: Sequence[int], file: Path | None, label: str
    ) -> list[Load]:
        self._progress.begin("load servers", f"{label} texts")
        try:
            return servers.measure(up, levels, file, label, self._room / "servers")
        except NotAvailable as error:
            self._absent[f"servers with {label} texts"] = str(error)
            return []


def _last(log: Path) -> str:
    said = log.read_text(errors="replace").strip().splitlines()
    return said[-1] if said else "without a word"

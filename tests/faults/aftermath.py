"""After every case a server in another process is what it was: alive, exact, nothing left over."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from msgspec import Struct

from tests.faults.copies import of_process
from tests.faults.target import MODELS, Target

LIVE = 1.0  # seconds for an answer from one that is well
BACK = 10.0  # seconds until all is as before
GROWTH = 50_000_000  # bytes
SHAPES = 130  # batches of 16 tokens and so many times more
THREADS = 8  # of a bounded pool that nobody had needed yet
TEXTS = ["w1 w2 w3", "", "w199 w4"]
TROUBLE = re.compile(r"Traceback| ERROR | CRITICAL |Exception|never retrieved")


class State(Struct, frozen=True):
    """What a server holds of requests, by /proc and by what it says itself."""

    descriptors: int
    threads: int
    resident: int
    leases: int
    queued: int


class Aftermath:
    """Knows a server as it was when this was made: warmed up, nobody asking."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._warm_up()
        self._golden = [target.vectors(TEXTS, model) for model in MODELS]
        self._files = files(target)
        self._read = target.log.stat().st_size
        self.base = state(target)

    def _warm_up(self) -> None:
        for model in MODELS:
            self.target.vectors([f"w{i % 200} " * 60 for i in range(2048)], model)
            self.target.vectors("w1 " * 2_000_000, model)
            for count in range(1, SHAPES):  # code that is made for each size, and kept
                self.target.vectors(["w1 " * 14] * count, model)

    def check(self) -> None:
        """Raises AssertionError for whatever is not as it was."""
        assert self.target.alive(), self._news()
        eventually(self._answers_soon, "no answer in a second")
        for model, golden in zip(MODELS, self._golden, strict=True):
            assert np.abs(self.target.vectors(TEXTS, model) - golden).max() <= 1e-5, model
        eventually(self._is_back, lambda: f"{state(self.target)} was {self.base}")
        assert files(self.target) == self._files
        assert staged(self.target) == []
        assert visitors(self.target) == 0, "it went to the network"
        news = self._news()
        assert not TROUBLE.search(news), news[-4000:]

    def _answers_soon(self) -> bool:
        began = time.monotonic()
        assert self.target.get("/health").status == 200
        return time.monotonic() - began < LIVE

    def _is_back(self) -> bool:
        now = state(self.target)
        return (
            now.descriptors <= self.base.descriptors
            and now.threads <= self.base.threads + THREADS
            and now.resident <= self.base.resident + GROWTH
            and now.leases == now.queued == 0
        )

    def _news(self) -> str:
        with self.target.log.open("rb") as log:
            log.seek(self._read)
            news = log.read()
        self._read += len(news)
        return news.decode("utf-8", "replace")


def eventually(true: Callable[[], bool], otherwise: str | Callable[[], str]) -> None:
    """Within BACK seconds."""
    deadline = time.monotonic() + BACK
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(otherwise if isinstance(otherwise, str) else otherwise())
        time.sleep(0.05)


def state(target: Target) -> State:
    """Its own connection for asking is not among the descriptors."""
    cache = target.get("/embeddings/cache/status").json["models"]
    queued = target.get("/info").json["queued_tokens"]
    return State(
        descriptors=len(list(Path(f"/proc/{target.pid}/fd").iterdir())),
        threads=of_process(target.pid, "Threads"),
        resident=of_process(target.pid, "VmRSS"),
        leases=sum(row["leases"] for row in cache),
        queued=queued,
    )


def files(target: Target) -> list[str]:
    """All that lies outside of the data directory."""
    data = target.folder / "data"
    found = (p for p in target.folder.rglob("*") if p != data and data not in p.parents)
    return sorted(str(path.relative_to(target.folder)) for path in found)


def staged(target: Target) -> list[str]:
    return [path.name for path in (target.folder / "data" / "staging").iterdir()]


def visitors(target: Target) -> int:
    """Connections to the address that stands for the internet."""
    count = 0
    while True:
        try:
            target.canary.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1

"""Many connections that ask at a rate, whatever the answers take; some leave before theirs."""

import asyncio
import base64
import json
import math
import random
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
from msgspec import Struct, field

from tests.e2e.minilm import Vectors

PATIENCE = 300.0  # seconds for an answer
LEAVES_WITHIN = 1.0  # seconds


class Question(Struct):
    """A request's bytes, and the vectors that are right for it."""

    message: bytes
    golden: Vectors


class Seen(Struct):
    """`latencies` are seconds of what was answered, `furthest` the largest distance (1 − cosine)."""

    outcomes: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = []
    furthest: float = 0.0
    asked: int = 0

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies) or [math.nan]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def question(port: int, model: str, texts: Sequence[str], golden: Vectors) -> Question:
    body = json.dumps({"model": model, "input": [*texts], "encoding_format": "base64"}).encode()
    head = (
        f"POST /embeddings HTTP/1.1\r\nHost: localhost:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return Question(head.encode() + body, golden)


class Flood:
    """`rate` is requests a second of all connections together; infinite: as fast as answers come."""

    def __init__(
        self, port: int, questions: Sequence[Question], rate: float, leaving: float, seed: int
    ) -> None:
        self.seen = Seen()
        self._port, self._questions, self._leaving = port, questions, leaving
        self._step = 1 / rate
        self._random = random.Random(seed)
        self._due = 0.0

    async def run(self, connections: int, seconds: float) -> Seen:
        """Asks for so long, then waits for what is under way."""
        self._due = time.monotonic()
        end = self._due + seconds
        await asyncio.gather(*(self._work(end) for _ in range(connections)))
        return self.seen

    async def _work(self, end: float) -> None:
        line = _Line(self._port)
        while (due := self._next()) < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._one(line)
        line.close()

    def _next(self) -> float:
        """When the next request is due; late ones are not made up for."""
        self._due = max(self._due + self._step, time.monotonic() - 1)
        return max(self._due, time.monotonic())

    async def _one(self, line: "_Line") -> None:
        asked = self._random.choice(self._questions)
        leaves = self._random.random() < self._leaving
        patience = self._random.random() * LEAVES_WITHIN if leaves else PATIENCE
        self.seen.asked += 1
        began = time.monotonic()
        try:
            async with asyncio.timeout(patience):
                status, retry, body = await line.ask(asked.message)
        except (TimeoutError, OSError, EOFError) as error:
            line.close()
            left = leaves and isinstance(error, TimeoutError)
            self.seen.outcomes["left" if left else f"lost: {type(error).__name__}"] += 1
            return
        self.seen.outcomes[self._judge(asked, status, retry, body)] += 1
        if status == 200:
            self.seen.latencies.append(time.monotonic() - began)

    def _judge(self, asked: Question, status: int, retry: bool, body: bytes) -> str:
        if status != 200:
            return f"{status}" if retry or status != 429 else "429 without Retry-After"
        found = rows(body)
        if found.shape != asked.golden.shape:
            return "200 of another shape"
        cosines = (found.astype(np.float64) * asked.golden).sum(axis=1)
        self.seen.furthest = max(self.seen.furthest, 1 - float(cosines.min()))
        return "200"


def rows(body: bytes) -> Vectors:
    data = json.loads(body)["data"]
    return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in data])


class _Line:
    """One connection, made anew when it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, message: bytes) -> tuple[int, bool, bytes]:
        """Status, whether there was a Retry-After, the body."""
        if self._ends is None:
            self._ends = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24)
        reader, writer = self._ends
        writer.write(message)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0]
        body = await reader.readexactly(int(length))
        if b"\r\nconnection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1]), b"\r\nretry-after:" in head, body

    def close(self) -> None:
        if self._ends is not None:
            self._ends[1].transport.abort()
            self._ends = None

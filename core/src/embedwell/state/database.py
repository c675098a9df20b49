"""One SQLite file with one writer thread: writes are queued, batched and tried again."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from embedwell.state import schema
from embedwell.state.pending import Pending, Statement, Value

log = logging.getLogger("embedwell.state")

PAUSE = 0.25  # seconds between transactions: what a killed process may lose
RETRY = 5.0  # seconds until a disk that refused is tried again
QUIET = 60.0  # seconds between complaints
OWN_FAULT = (  # of one statement: to try it again would hold up all others
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    ValueError,
    OverflowError,
)
T = TypeVar("T")


class Database:
    """Made by `open`; loop only. Whoever writes keeps the truth in memory: no write raises."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        thread: ThreadPoolExecutor,
        clock: Callable[[], float],
    ) -> None:
        self._path = path
        self._connection = connection
        self._thread = thread
        self._clock = clock
        self._pending = Pending()
        self._arrived = asyncio.Event()
        self._turn = asyncio.Lock()
        self._writes: set[asyncio.Task[bool]] = set()
        self._complained: float | None = None
        self._refused = False  # and that was said
        self._closed = False
        self._writer = asyncio.get_running_loop().create_task(self._keep_writing())

    @classmethod
    async def open(cls, path: Path, clock: Callable[[], float] = time.monotonic) -> Self:
        """Makes the file where there is none; raises ConfigurationError. `clock` is monotonic."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="embedwell-state")
        try:
            loop = asyncio.get_running_loop()
            connection = await loop.run_in_executor(thread, schema.connect, path)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(path, connection, thread, clock)

    @property
    def pending(self) -> int:
        """Statements that are not on the disk yet, those being written not counted."""
        return len(self._pending)

    def execute(self, sql: str, values: tuple[Value, ...], key: Hashable) -> None:
        """Queue a write; of those with the same key only the last need ever be carried out."""
        if not self._closed:
            self._pending.put(key, Statement(sql, values))
            self._arrived.set()

    async def read(self, sql: str) -> Sequence[Any]:
        """Rows as tuples, of what is written; raises ConfigurationError for a damaged file."""
        try:
            return await self._run(lambda: self._connection.execute(sql).fetchall())
        except sqlite3.Error as error:
            raise schema.explained(self._path, error) from None

    async def flush(self) -> bool:
        """Returns once all that was queued is written; False where the disk refused it."""
        writing = asyncio.get_running_loop().create_task(self._write())
        self._writes.add(writing)
        writing.add_done_callback(self._writes.discard)
        return await asyncio.shield(writing)  # given up half-way, a batch could be lost

    async def aclose(self) -> None:
        """Write what is queued, and close the file; what is executed later is ignored."""
        if self._closed:
            return
        self._writer.cancel()
        await asyncio.wait([self._writer])
        if not await self.flush():
            log.error("%s: %d changes are lost", self._path.name, self.pending)
        self._closed = True
        await self._run(self._connection.close)
        self._thread.shutdown(wait=False)

    async def _keep_writing(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(PAUSE)
            if not await self.flush():
                await asyncio.sleep(RETRY)

    async def _write(self) -> bool:
        async with self._turn:
            self._arrived.clear()
            batch = self._pending.take()
            if not batch or self._closed:
                return True
            try:
                await self._run(lambda: write(self._connection, [*batch.values()]))
            except Exception as error:
                self._pending.give_back(batch)
                self._arrived.set()
                self._complain(error)
                return False
            self._settle()
            return True

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _complain(self, error: Exception) -> None:
        now = self._clock()
        if self._complained is None or now - self._complained >= QUIET:
            self._complained, self._refused = now, True
            log.error(
                "%s cannot be written (%s): counts and tasks are kept in memory, %d changes wait, "
                "%d were dropped",
                self._path.name,
                error,
                self.pending,
                self._pending.dropped,
            )

    def _settle(self) -> None:
        if self._refused:
            dropped, self._pending.dropped = self._pending.dropped, 0
            self._refused = False
            log.warning("%s is written again, %d changes were dropped", self._path.name, dropped)


def write(connection: sqlite3.Connection, batch: Sequence[Statement]) -> None:
    """All of it in one transaction, or nothing; a statement that is at fault itself is skipped."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in batch:
            try:
                connection.execute(statement.sql, statement.values)
            except OWN_FAULT:
                log.exception("a change is lost: %s", statement.sql)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors have ended it already
            connection.execute("ROLLBACK")
        raise

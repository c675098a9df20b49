"""The tables by version, and a file opened, checked and brought to the newest of them."""

import sqlite3
from pathlib import Path

from embedwell.errors import ConfigurationError

BUSY_SECONDS = 5.0  # for another program that holds the file
# Times are Unix seconds, days are counted from 1970-01-01. A change is a new tuple at the end.
MIGRATIONS = (
    (
        "CREATE TABLE tags (tag TEXT PRIMARY KEY, first INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE counts (tag TEXT NOT NULL, day INTEGER NOT NULL, requests INTEGER NOT NULL, "
        "PRIMARY KEY (tag, day)) WITHOUT ROWID",
        "CREATE TABLE costs (digest TEXT NOT NULL, dtype TEXT NOT NULL, device TEXT NOT NULL, "
        "engine TEXT NOT NULL, weights INTEGER NOT NULL, peak INTEGER NOT NULL, "
        "seconds REAL NOT NULL, measured INTEGER NOT NULL, "
        "PRIMARY KEY (digest, dtype, device, engine)) WITHOUT ROWID",
        "CREATE TABLE tasks (id TEXT PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, "
        "status TEXT NOT NULL, done INTEGER NOT NULL, total INTEGER, error TEXT, "
        "created REAL NOT NULL, finished REAL) WITHOUT ROWID",
    ),
    ("ALTER TABLE costs ADD COLUMN verdict TEXT",),
)
REMEDY = (
    "move it, and the files beside it whose names begin the same, out of the way: "
    "the server then starts with empty counters and tasks; models are not in it"
)


def connect(path: Path) -> sqlite3.Connection:
    """For the calling thread only; raises ConfigurationError, naming the file and a remedy."""
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise explained(path, error) from None
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise explained(path, error) from None
    except BaseException:
        connection.close()
        raise
    return connection


def explained(path: Path, error: sqlite3.Error) -> ConfigurationError:
    """Why the file cannot be used, for who starts the server."""
    name = getattr(error, "sqlite_errorname", None) or ""  # some errors are Python's own
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")) or "decode" in str(error):
        return _damaged(path)
    return ConfigurationError(
        [f"{path}: cannot be used: {error}; see that it can be written and that nobody else has it"]
    )


def _damaged(path: Path) -> ConfigurationError:
    return ConfigurationError([f"{path}: not a database, or a damaged one; {REMEDY}"])


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            [
                f"{path}: written by a newer Embedwell (format {version}, this one knows "
                f"{len(MIGRATIONS)}); install that version, or {REMEDY}"
            ]
        )
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise _damaged(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    _migrate(connection, version)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")

"""Everything that only SQLite understands: connections, their pragmas, upserts, change detection.

Durability: WAL with `synchronous=FULL` (an acknowledged commit survives a power cut), real barriers on macOS. The write
engine begins every transaction with BEGIN IMMEDIATE; the read engine can write nothing.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import SQLAlchemyError

from coordinator.errors import CoordinatorError, StateError, StorageFullError, StoreUnavailableError

BUSY_TIMEOUT_MS = 5000
_CHECKED_AT_START = 64 << 20
"""Databases up to this many bytes are checked when opened (about 0.1 s); `doctor` checks any size."""

_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""What may be over soon, or when the admin has mended the disk."""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_PRAGMAS = (
    "PRAGMA synchronous=FULL",
    "PRAGMA fullfsync=1",
    "PRAGMA checkpoint_fullfsync=1",
    "PRAGMA foreign_keys=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA wal_autocheckpoint=1000",
    f"PRAGMA journal_size_limit={64 << 20}",
)


class Driver(Protocol):
    """What is used of a connection of the driver, directly: `sqlite3.Connection` and whatever stands in for it."""

    isolation_level: Any

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, sql: str, /) -> sqlite3.Cursor: ...


def write_engine(path: Path, connect: Callable[[], Driver] | None = None) -> sa.Engine:
    """One connection that may write; made by whoever owns the writer thread, or a migration.

    `connect` opens it by another way than Python's own SQLite: for tests, on a file system that fails when told to.
    """
    pragmas = ("PRAGMA journal_mode=WAL", *_PRAGMAS)
    return _engine(path, pragmas, begin="BEGIN IMMEDIATE", connections=1, connect=connect)


def read_engine(path: Path, connections: int) -> sa.Engine:
    """Connections on which every write is refused."""
    return _engine(path, (*_PRAGMAS, "PRAGMA query_only=ON"), begin="BEGIN", connections=connections)


def insert_new(table: sa.Table) -> Insert:
    """INSERT that leaves an existing row of the same key alone."""
    return sqlite_insert(table).on_conflict_do_nothing()


def data_version(connection: sa.Connection) -> int:
    """A number that changes when any other connection commits; only comparable on one connection."""
    return int(_driver(connection).execute("PRAGMA data_version").fetchone()[0])


def last_written(path: Path) -> int:
    """When the database or its log was last written to, by anyone: nanoseconds since 1970."""
    return max(
        (file.stat().st_mtime_ns for file in (path, path.with_name(f"{path.name}-wal")) if file.exists()), default=0
    )


def touch(connection: sa.Connection) -> None:
    """The smallest change that has to reach the disk."""
    _driver(connection).execute("UPDATE alembic_version SET version_num = version_num")


def savepoint(connection: sa.Connection) -> None:
    """Open a savepoint inside the running transaction; without SQLAlchemy, at a tenth of the cost."""
    _driver(connection).execute("SAVEPOINT operation")


def undo_to_savepoint(connection: sa.Connection) -> bool:
    """False if the database has given up the whole transaction, as it does on a full disk."""
    driver = _driver(connection)
    if driver.in_transaction:
        driver.execute("ROLLBACK TO operation")
    return driver.in_transaction


def release_savepoint(connection: sa.Connection) -> None:
    _driver(connection).execute("RELEASE operation")


def check(connection: sa.Connection) -> None:
    """Look for damage.

    Raises:
        StateError: with the first finding.
    """
    finding = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if finding != "ok":
        raise StateError(f"The database is damaged ({finding}); restore it from a backup.")


def small_enough_to_check(path: Path) -> bool:
    return path.stat().st_size <= _CHECKED_AT_START


def in_our_words(error: Exception, wanted: str) -> Exception:
    """An error of the database, by whose fault it is; any other as it is. `wanted`: it was to `store` or `read`."""
    if not isinstance(error, SQLAlchemyError | sqlite3.Error):
        return error
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    ours: CoordinatorError
    if code == sqlite3.SQLITE_FULL:
        ours = StorageFullError("The coordinator's disk is full: free some space and try again.")
    elif code in _PASSING:
        ours = StoreUnavailableError(f"The coordinator's disk or database fails now ({cause}); try again later.")
    elif code in _DAMAGED:
        ours = StateError(f"The database is damaged ({cause}); restore it from a backup.")
    else:
        ours = StateError(f"The database could not {wanted} this: {cause}.")
    ours.__cause__ = error
    return ours


def _driver(connection: sa.Connection) -> Driver:
    return cast(Driver, connection.connection.driver_connection)


def _engine(
    path: Path,
    pragmas: tuple[str, ...],
    begin: str,
    connections: int,
    connect: Callable[[], Driver] | None = None,
) -> sa.Engine:
    other_way = {} if connect is None else {"creator": connect}
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
        poolclass=sa.QueuePool,
        pool_size=connections,
        max_overflow=0,
        **other_way,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Driver, _record: object) -> None:
        connection.isolation_level = None  # SQLAlchemy's transactions, not the driver's
        for pragma in pragmas:
            connection.execute(pragma).close()

    @event.listens_for(engine, "begin")
    def start(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine

"""A copy of the database at one moment, beside a running coordinator; and what a restored one must forget.

Promises: the copy is one consistent point (SQLite's online backup in a single step) with this program's schema, checked
in full, on disk when `take` returns, and one file without a log beside it. Writers are never held up.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from coordinator.errors import StateError
from coordinator.records import JobRecord, JobState, ModelRecord
from coordinator.store import access, schema, sqlite
from coordinator.store.rows import job_record
from coordinator.store.tables import job, token, worker
from gogrid.files import flush_folder

_UNFINISHED = (JobState.QUEUED.value, JobState.LEASED.value, JobState.RUNNING.value)
_PAGE = 500


def take(database: Path, target: Path) -> None:
    """Copy the database into the new file `target`.

    Raises:
        StateError: it cannot be read, or it is damaged.
    """
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with (
            closing(sqlite3.connect(database, timeout=sqlite.BUSY_TIMEOUT_MS / 1000)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.execute("PRAGMA query_only=ON").close()
            source.backup(copy)
        _migrate(target)
        with closing(sqlite3.connect(target)) as copy:
            copy.execute("PRAGMA journal_mode=DELETE").close()
            finding = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise StateError(f"{database} cannot be copied: {error}.") from error
    if finding != "ok":
        raise StateError(f"{database} is damaged ({finding}); no backup was made. Restore an older one.")
    with target.open("rb+") as file:
        os.fsync(file.fileno())
    flush_folder(target.parent)


def contents(database: Path) -> Iterator[ModelRecord | JobRecord]:
    """The models, and the jobs that have a task: what may name blobs. Raises `StateError`."""
    engine = sqlite.read_engine(database, 1)
    try:
        with engine.connect() as connection:
            yield from access.models(connection)
            wanted = sa.select(job).where(job.c.task.is_not(None)).order_by(job.c.seq)
            for row in connection.execution_options(yield_per=_PAGE).execute(wanted).mappings():
                yield job_record(row)
    except SQLAlchemyError as error:
        raise StateError(f"{database} cannot be read: {getattr(error, 'orig', None) or error}.") from error
    finally:
        engine.dispose()


def make_current(database: Path, epoch: int) -> None:
    """Make a restored database safe to serve from: what was handed out before is void.

    Every session and every unfinished job goes on from `epoch` or from one above its own, whichever is higher; what was
    leased waits again; join tokens that had uses left are revoked, for they may have been used since. Migrates to this
    program's schema.

    Raises:
        StateError: it is damaged, or was made by a newer program.
    """
    _migrate(database)
    engine = sqlite.write_engine(database)
    try:
        with engine.begin() as connection:
            sqlite.check(connection)
            sessions = {"session_epoch": _above(worker.c.session_epoch, epoch)}
            connection.execute(sa.update(worker).values(sessions))
            waiting = {"state": JobState.QUEUED.value, "worker": None, "started_at": None}
            unfinished = sa.update(job).where(job.c.state.in_(_UNFINISHED))
            connection.execute(unfinished.values(waiting | {"epoch": _above(job.c.epoch, epoch)}))
            connection.execute(sa.update(token).where(token.c.uses < token.c.max_uses).values(revoked=True))
    except SQLAlchemyError as error:
        raise StateError(f"{database} cannot be used: {getattr(error, 'orig', None) or error}.") from error
    finally:
        engine.dispose()


def _migrate(database: Path) -> None:
    engine = sqlite.write_engine(database)
    try:
        schema.prepare(engine)
    except SQLAlchemyError as error:
        raise StateError(f"{database} cannot be used: {getattr(error, 'orig', None) or error}.") from error
    finally:
        engine.dispose()


def _above(column: sa.Column[int], epoch: int) -> sa.ColumnElement[int]:
    return sa.case((column + 1 > epoch, column + 1), else_=epoch)

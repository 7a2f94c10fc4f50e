"""The real `SqliteStore` on a simulated disk, with callers that remember what was acknowledged."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import msgspec

from coordinator.errors import CoordinatorError
from coordinator.records import Completion, JobKind, JobOutcome, JobState, NewJob
from coordinator.state.room import Room
from coordinator.store import schema, sqlite
from coordinator.store.sqlite_store import SqliteStore
from gogrid.ids import KeyId, WorkerId, new_job_id
from gogrid.protocol.job_messages import PythonDone, PythonEnd
from gogrid.protocol.tasks import PythonTask
from tests.fakes.apsw_driver import Driver, PowerVfs
from tests.fakes.power_disk import Disk

ANNA = WorkerId("wk_anna")
DONE = JobOutcome(JobState.DONE, msgspec.msgpack.encode(PythonDone(exit_code=0, ended=PythonEnd.OK)))


@dataclass
class Acknowledged:
    """What callers were told; `done` is a part of `jobs`."""

    jobs: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    refusals: list[Exception] = field(default_factory=list)

    def lost(self, stored: dict[str, str]) -> list[str]:
        """Acknowledged and not there; `stored`: state by id."""
        gone = [job for job in self.jobs if job not in stored]
        return gone + [job for job in self.done if stored.get(job) != "done"]


@cache
def _empty_database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.db")
        engine = sqlite.write_engine(path)
        schema.prepare(engine)
        engine.dispose()
        return path.read_bytes()


def new_disk() -> Disk:
    """A disk with an empty database of this program's schema."""
    disk = Disk()
    disk.put("x.db", _empty_database())
    return disk


@contextmanager
def store_on(disk: Disk, *pragmas: str) -> Iterator[SqliteStore]:
    """The store, writing to `disk`; only verbs that write can be used. The caller closes it, or lets its disk die."""
    vfs = PowerVfs(disk)
    engine = sqlite.write_engine(Path("x.db"), lambda: Driver(vfs))
    with engine.connect() as connection:
        for pragma in pragmas:
            connection.connection.driver_connection.execute(pragma)
    try:
        yield SqliteStore(Path("x.db"), engine, Room(Path("x.db"), lambda folder: (1 << 40, 1 << 40)))
    finally:
        engine.dispose()
        vfs.unregister()


async def keep_busy(store: SqliteStore, callers: int, jobs_each: int, told: Acknowledged, give_up: bool) -> None:
    """Each caller submits jobs and sees every second one through; with `give_up` only until it is refused."""

    async def caller(number: int) -> None:
        for turn in range(jobs_each):
            new = NewJob(new_job_id(), KeyId("k"), JobKind.PYTHON, PythonTask(files=(), entry="a.py"), "a.py", 1.0)
            try:
                await store.submit(new)
                told.jobs.append(new.id)
                if (number + turn) % 2:
                    continue
                epoch = await store.claim(new.id, ANNA)
                assert epoch is not None
                if await store.complete(new.id, epoch, ANNA, DONE, 2.0) is Completion.ACCEPTED:
                    told.done.append(new.id)
            except CoordinatorError as error:
                told.refusals.append(error)
                if give_up:
                    return

    await asyncio.gather(*(caller(number) for number in range(callers)))


def stored(files: dict[str, bytes]) -> dict[str, str]:
    """State of every job by id, as Python's own SQLite finds them in these files.

    Raises:
        AssertionError: the database is damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        with closing(sqlite3.connect(Path(folder, "x.db"))) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []
            return dict(database.execute("SELECT id, state FROM job"))

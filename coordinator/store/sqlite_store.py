"""`Store` on SQLite: one writer thread with group commit, two reader threads, a write-behind buffer.

Belongs to the event loop it was opened in. See `base.py` for what each verb promises.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from coordinator.errors import StateError, StorageFullError, StoreUnavailableError
from coordinator.records import (
    Attempt,
    Completion,
    JobKind,
    JobOutcome,
    JobRecord,
    JobState,
    KeyRecord,
    LeaseEnd,
    LogLine,
    ModelRecord,
    NewJob,
    Report,
    TokenRecord,
    UnfinishedJob,
    WorkerRecord,
    WorkerStatus,
)
from coordinator.state.room import Room
from coordinator.store import access, job_lists, jobs, schema, sqlite
from coordinator.store.behind import Behind, PendingLines, PendingRequest
from coordinator.store.writer import Writer
from gogrid.ids import JobId, KeyId, WorkerId

T = TypeVar("T")
_READERS = 2
_FLUSH_S = 0.05
_RETRY_S = 1.0
_SETTLED_NS = 2_000_000_000
"""Two writes within one tick of the file system's clock leave the same time; after this long, no more can."""

_log = logging.getLogger(__name__)


class SqliteStore:
    """Make one with `await SqliteStore.open(path)`."""

    def __init__(self, path: Path, writing: sa.Engine, room: Room) -> None:
        self._path = path
        self._room = room
        self._writing = writing
        self._reading = sqlite.read_engine(path, _READERS)
        self._readers = ThreadPoolExecutor(_READERS, "store-reader")
        self._writer = Writer(writing)
        self._behind = Behind()
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Future[None] | None = None
        self._seen_version: int | None = None
        self._seen_written = 0
        self._dropped_before = 0
        self._probe: asyncio.Future[None] | None = None
        self._probe_due = 0.0
        self._closed = False

    @classmethod
    async def open(cls, path: Path, room: Room | None = None) -> "SqliteStore":
        """Open or create the database, check it if that is quick, migrate it if needed.

        `room` says whether new work may be stored; if not given, the disk that the database lies on.

        Raises:
            StateError: it cannot be opened, is damaged, or was made by a newer program.
        """
        store = cls(path, _prepared(path), room or Room(path.parent))
        await store.changed_elsewhere()
        return store

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        if self._behind:
            try:
                await self._start_flush()
            except Exception as error:  # noqa: BLE001  # whatever it is, the rest must be closed
                _log.error("remembered requests or logs are lost: %s", error)
        await self._writer.close()
        self._readers.shutdown()
        self._reading.dispose()
        self._writing.dispose()

    async def changed_elsewhere(self) -> bool:
        written = sqlite.last_written(self._path)
        if written == self._seen_written and abs(time.time_ns() - written) > _SETTLED_NS:
            return False
        self._seen_written = written
        version = await self._writer.peek(sqlite.data_version)
        changed = self._seen_version is not None and version != self._seen_version
        self._seen_version = version
        return changed

    def refusing(self) -> str:
        """Why new work is refused now, in a sentence; empty if it is not.

        After a failure the disk is tried again, once a second while this is asked.
        """
        if self._writer.trouble and self._probe is None and time.monotonic() >= self._probe_due:
            self._probe_due = time.monotonic() + _RETRY_S
            self._probe = self._writer.submit(sqlite.touch)
            self._probe.add_done_callback(self._probed)
        return self._writer.trouble or self._room.shortage()

    def _probed(self, probe: "asyncio.Future[None]") -> None:
        self._probe = None
        if not probe.cancelled() and probe.exception() is None:
            _log.warning("the database can be written again")

    # --- enrolment ---------------------------------------------------------------------------------------------------

    async def tokens(self) -> list[TokenRecord]:
        return await self._read(access.tokens)

    async def add_token(self, token: TokenRecord) -> None:
        await self._writer.submit(lambda connection: access.add_token(connection, token))

    async def revoke_token(self, token_id: str) -> None:
        await self._writer.submit(lambda connection: access.revoke_token(connection, token_id))

    async def redeem(self, token_id: str, worker: WorkerRecord, now: float) -> WorkerRecord:
        return await self._writer.submit(lambda connection: access.redeem(connection, token_id, worker, now))

    async def workers(self) -> list[WorkerRecord]:
        return await self._read(access.workers)

    async def set_worker_status(self, worker_id: WorkerId, status: WorkerStatus) -> None:
        await self._writer.submit(lambda connection: access.set_worker_status(connection, worker_id, status))

    async def set_worker_draining(self, worker_id: WorkerId, draining: bool) -> None:
        await self._writer.submit(lambda connection: access.set_worker_draining(connection, worker_id, draining))

    async def set_worker_health(self, worker_id: WorkerId, crashed_jobs: Sequence[JobId], quarantined: str) -> None:
        await self._writer.submit(
            lambda connection: access.set_worker_health(connection, worker_id, crashed_jobs, quarantined)
        )

    async def open_session(self, worker_id: WorkerId) -> int:
        return await self._writer.submit(lambda connection: access.open_session(connection, worker_id))

    # --- keys and models ---------------------------------------------------------------------------------------------

    async def keys(self) -> list[KeyRecord]:
        return await self._read(access.keys)

    async def add_key(self, key: KeyRecord) -> None:
        await self._writer.submit(lambda connection: access.add_key(connection, key))

    async def revoke_key(self, key_id: KeyId) -> None:
        await self._writer.submit(lambda connection: access.revoke_key(connection, key_id))

    async def models(self) -> list[ModelRecord]:
        return await self._read(access.models)

    async def add_model(self, model: ModelRecord) -> None:
        await self._writer.submit(lambda connection: access.add_model(connection, model))

    async def remove_model(self, name: str) -> ModelRecord:
        return await self._writer.submit(lambda connection: access.remove_model(connection, name))

    # --- durable jobs ------------------------------------------------------------------------------------------------

    async def submit(self, job: NewJob, worker: WorkerId | None = None) -> tuple[JobRecord, bool]:
        return (await self.submit_all([(job, worker)]))[0]

    async def submit_all(self, jobs_: Sequence[tuple[NewJob, WorkerId | None]]) -> list[tuple[JobRecord, bool]]:
        self._room.require()
        return await self._writer.submit(lambda connection: jobs.submit(connection, jobs_))

    async def unfinished(self) -> list[UnfinishedJob]:
        return await self._read(jobs.unfinished)

    async def claim(self, job_id: JobId, worker: WorkerId) -> int | None:
        return (await self.claim_all([(job_id, worker)]))[0]

    async def claim_all(self, wanted: Sequence[tuple[JobId, WorkerId]]) -> list[int | None]:
        return await self._writer.submit(lambda connection: jobs.claim(connection, wanted))

    async def mark_running(self, job_id: JobId, epoch: int, now: float) -> bool:
        return await self._writer.submit(lambda connection: jobs.mark_running(connection, job_id, epoch, now))

    async def complete(
        self,
        job_id: JobId,
        epoch: int,
        worker: WorkerId,
        outcome: JobOutcome,
        now: float,
        began_at: float | None = None,
    ) -> Completion:
        return (await self.complete_all([Report(job_id, epoch, worker, outcome, now, began_at)]))[0]

    async def complete_all(self, reports: Sequence[Report]) -> list[Completion]:
        return await self._writer.submit(lambda connection: jobs.complete(connection, reports))

    async def give_back(
        self, job_id: JobId, epoch: int, end: LeaseEnd, why: str, now: float, not_before: float | None = None
    ) -> bool:
        return await self._writer.submit(
            lambda connection: jobs.give_back(connection, job_id, epoch, end, why, now, not_before)
        )

    async def bury(self, job_id: JobId, epoch: int, end: LeaseEnd, why: str, outcome: JobOutcome, now: float) -> bool:
        return await self._writer.submit(
            lambda connection: jobs.bury(connection, job_id, epoch, end, why, outcome, now)
        )

    async def cancel(self, job_id: JobId, now: float) -> JobRecord:
        return await self._writer.submit(lambda connection: jobs.cancel(connection, job_id, now))

    async def fail(self, job_id: JobId, outcome: JobOutcome, now: float) -> bool:
        return await self._writer.submit(lambda connection: jobs.fail(connection, job_id, outcome, now))

    async def revive(self, job_id: JobId) -> JobRecord:
        return await self._writer.submit(lambda connection: jobs.revive(connection, job_id))

    async def attempts(self, job_id: JobId) -> list[Attempt]:
        return await self._read(lambda connection: jobs.attempts(connection, job_id))

    async def job(self, job_id: JobId) -> JobRecord | None:
        return await self._read(lambda connection: jobs.find(connection, job_id))

    async def jobs(
        self,
        owner: KeyId | None,
        states: Sequence[JobState],
        kinds: Sequence[JobKind],
        limit: int,
        after: JobId | None = None,
    ) -> list[JobRecord]:
        return await self._read(lambda connection: job_lists.newest(connection, owner, states, kinds, limit, after))

    async def job_ids(self, beginning: str, owner: KeyId | None, limit: int) -> list[JobId]:
        return await self._read(lambda connection: job_lists.ids(connection, beginning, owner, limit))

    async def submitted(self, owner: KeyId, idempotency_key: str) -> JobRecord | None:
        return await self._read(lambda connection: job_lists.submitted(connection, owner, idempotency_key))

    async def forget(self, before: float, dead_before: float) -> int:
        return await self._writer.submit(lambda connection: jobs.forget(connection, before, dead_before))

    # --- write-behind ------------------------------------------------------------------------------------------------

    def record_request(self, job: NewJob, worker: WorkerId | None, outcome: JobOutcome, now: float) -> None:
        self._behind.add_request(PendingRequest(job, worker, outcome, now))
        self._flush_in(_FLUSH_S)

    def append_logs(self, job_id: JobId, epoch: int, lines: Sequence[LogLine]) -> None:
        self._behind.add_lines(PendingLines(job_id, epoch, tuple(lines)))
        self._flush_in(_FLUSH_S)

    async def logs(self, job_id: JobId, after: int, limit: int) -> list[LogLine]:
        waiting = self._behind.lines_of(job_id)  # before the read: a line may be in both places, never in neither
        epoch, stored = await self._read(lambda connection: jobs.logs(connection, job_id, after, limit))
        lines = {line.seq: line for pending in waiting if pending.epoch == epoch for line in pending.lines}
        lines = {seq: line for seq, line in lines.items() if seq > after} | {line.seq: line for line in stored}
        return [lines[seq] for seq in sorted(lines)][:limit]

    def _flush_in(self, delay_s: float) -> None:
        if self._closed:
            raise StateError("The store is closed.")
        if self._flush_timer is None and self._flushing is None:
            self._flush_timer = asyncio.get_running_loop().call_later(delay_s, self._flush)

    def _flush(self) -> None:
        self._flush_timer = None
        if self._room.shortage():
            self._flush_in(_RETRY_S)  # what room is left belongs to the jobs under way
        else:
            self._start_flush()

    def _start_flush(self) -> "asyncio.Future[None]":
        requests, lines = self._behind.take()
        self._flushing = self._writer.submit(lambda connection: jobs.write_behind(connection, requests, lines))
        self._flushing.add_done_callback(self._flushed)
        return self._flushing

    def _flushed(self, flush: "asyncio.Future[None]") -> None:
        self._flushing = None
        error = None if flush.cancelled() else flush.exception()
        if error is None:
            self._behind.done()
        elif isinstance(error, StorageFullError | StoreUnavailableError):
            _log.error("requests and logs wait to be written: %s", error)
            self._behind.again()
        else:
            _log.error("requests and logs cannot be written and are given up: %s", error)
            self._behind.give_up()
        if self._behind.dropped != self._dropped_before:
            _log.warning("%d requests or logs were given up in all: too many waited", self._behind.dropped)
            self._dropped_before = self._behind.dropped
        if self._behind and not self._closed:
            self._flush_in(_FLUSH_S if error is None else _RETRY_S)

    async def _read(self, read: Callable[[sa.Connection], T]) -> T:
        def run() -> T:
            try:
                with self._reading.begin() as connection:
                    return read(connection)
            except SQLAlchemyError as error:
                raise sqlite.in_our_words(error, "read") from None

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)


def _prepared(path: Path) -> sa.Engine:
    """The write engine of a sound database with this program's schema."""
    engine = sqlite.write_engine(path)
    try:
        path.touch(mode=0o600)  # SQLite gives its other files the same mode
        schema.prepare(engine)
        if sqlite.small_enough_to_check(path):
            with engine.connect() as connection:
                sqlite.check(connection)
    except (SQLAlchemyError, OSError) as error:
        engine.dispose()
        raise StateError(f"{path} cannot be used as the database: {getattr(error, 'orig', None) or error}.") from error
    except StateError:
        engine.dispose()
        raise
    return engine

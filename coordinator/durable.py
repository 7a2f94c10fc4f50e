"""Durable jobs: acknowledged after the commit, run at least once, completed exactly once.

Promises: `submit` returns only when the job is on disk; each step of a job's life is one fenced statement of the store,
made before anybody is told of it; a job whose worker is lost waits again, up to `ATTEMPTS` leases; after a restart of
the coordinator every unfinished job waits again. A result counts only if every output file it names is in the blob
store.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec

from coordinator.dispatch import Dispatcher, Work
from coordinator.errors import CoordinatorError, NotFoundError, QueueFullError
from coordinator.links import WorkerLink
from coordinator.placement import Need
from coordinator.records import Completion, JobKind, JobOutcome, JobRecord, JobState, KeyRecord, LogLine, NewJob
from coordinator.store.base import Store
from coordinator.tally import Tally
from coordinator.tickets import Waiting
from gogrid.ids import JobId, WorkerId, new_job_id
from gogrid.protocol.messages import (
    LINES_PER_LEASE,
    Assign,
    FailCode,
    Failed,
    Finished,
    JobMessage,
    Log,
    PythonDone,
    Started,
)
from gogrid.protocol.tasks import PythonTask

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often a job may be lost by a worker before it is given up as dead."""
REFUSED_RETRY_S = 1.0
"""A job that a worker has refused is placed again after this."""
STORE_RETRY_S = 2.0
"""After the store refused a step (disk full, say), the job is tried again this much later."""
LOG_PAGE = 500
_RETRYABLE = frozenset({FailCode.NO_ROOM, FailCode.CRASHED, FailCode.INTERNAL, FailCode.YIELDED, FailCode.CANCELLED})


class Blobs(Protocol):
    """What durable jobs ask of the blob store."""

    def size(self, digest: str) -> int | None:
        """Bytes of a blob; None if it is not here."""


@dataclass(frozen=True, slots=True)
class DurableLimits:
    queued: int
    """How many durable jobs may wait at once."""


class DurableJobs:
    """Implements `coordinator.tickets.Jobs`."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        store: Store,
        blobs: Blobs,
        limits: DurableLimits,
        tally: Tally,
        wall: Callable[[], float],
    ) -> None:
        self._dispatcher = dispatcher
        self._store = store
        self._blobs = blobs
        self._limits = limits
        self._tally = tally
        self._wall = wall
        self._works: dict[JobId, DurableWork] = {}
        self._steps: set[asyncio.Task[None]] = set()

    async def recover(self) -> int:
        """At start: take up every unfinished job again; returns how many."""
        records = await self._store.recover()
        for record in records:
            self._take_up(record)
        return len(records)

    async def close(self) -> None:
        """Wait for the steps under way."""
        if self._steps:
            await asyncio.wait(self._steps, timeout=5)

    async def submit(
        self, key: KeyRecord, label: str, task: PythonTask, idempotency_key: str | None, body_sha256: str
    ) -> tuple[JobRecord, bool]:
        if len(self._works) >= self._limits.queued:
            raise QueueFullError(f"{len(self._works)} jobs wait already, as many as may; try again later.", 30)
        job = NewJob(
            new_job_id(), key.id, JobKind.PYTHON, task, label, self._wall(), idempotency_key, body_sha256
        )  # fmt: skip
        record, new = await self._store.submit(job)
        if new:
            self._tally.accepted += 1
            self._take_up(record)
        return record, new

    async def cancel(self, job_id: JobId) -> JobRecord:
        work = self._works.get(job_id)
        record = await self._store.cancel(job_id, self._wall())
        if work is not None:
            self._dispatcher.withdraw(job_id, "cancelled by its submitter")
            if record.outcome is not None:
                self._tally.ended(record.outcome)
            self._forget(work)
        return record

    async def follow(self, job_id: JobId, after: int) -> AsyncIterator[LogLine | JobRecord]:
        while True:
            work = self._works.get(job_id)
            changed = work.changed() if work is not None else None
            record = await self._store.job(job_id)
            if record is None:
                raise NotFoundError(f"There is no job {job_id}.")
            lines = await self._store.logs(job_id, after, LOG_PAGE)
            for line in lines:
                after = line.seq
                yield line
            if lines:
                continue
            if record.state.final:
                yield record
                return
            if changed is not None:
                await changed

    def waiting(self, job_id: JobId) -> Waiting | None:
        position = self._dispatcher.position(job_id)
        if position is None:
            return None
        reasons = self._dispatcher.reasons(job_id) if self._dispatcher.connections() else ("no worker is connected",)
        return Waiting(position, reasons)

    # what a job's work asks for

    def step(self, work: "DurableWork", step: Callable[[], Coroutine[None, None, None]]) -> None:
        """Take one step in the store, again and again while the store refuses (disk full, say)."""
        task = asyncio.get_running_loop().create_task(self._insist(work, step))
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)

    async def claim(self, work: "DurableWork", link: WorkerLink) -> None:
        epoch = await self._store.claim(work.need.job_id, link.worker.id)
        if epoch is None:
            self._forget(work)
            return
        work.epoch = epoch
        if self._dispatcher.holds(work.need.job_id, link.worker.id):
            link.send(Assign(job_id=work.need.job_id, epoch=epoch, task=work.task, durable=True))
        else:
            await self._store.requeue(work.need.job_id, epoch)

    async def mark_running(self, work: "DurableWork", epoch: int) -> None:
        await self._store.mark_running(work.need.job_id, epoch, self._wall())
        work.wake()

    async def complete(self, work: "DurableWork", epoch: int, worker: WorkerId, outcome: JobOutcome) -> None:
        completion = await self._store.complete(work.need.job_id, epoch, worker, outcome, self._wall())
        if completion is Completion.ACCEPTED:
            self._tally.ended(outcome)
        self._forget(work)

    async def hand_on(self, work: "DurableWork", epoch: int, worker: WorkerId) -> None:
        """The worker would not take it: wait again, which does not count as an attempt."""
        if await self._store.requeue(work.need.job_id, epoch):
            self._dispatcher.retry_later(work, worker, REFUSED_RETRY_S)
        else:
            self._forget(work)

    async def give_back(self, work: "DurableWork", epoch: int, worker: WorkerId, why: str) -> None:
        """A lease ended without a result: wait again, or give up as dead."""
        if not await self._store.requeue(work.need.job_id, epoch):
            self._forget(work)
            return
        work.losses += 1
        if work.losses < ATTEMPTS:
            log.info("job %s waits again: %s", work.need.job_id, why)
            self._dispatcher.retry(work, worker)
            work.wake()
            return
        outcome = JobOutcome(
            JobState.DEAD,
            error_code="worker_lost",
            error=f"It failed on {ATTEMPTS} leases, the last time because: {why}",
        )
        await self._store.fail(work.need.job_id, outcome, self._wall())
        self._tally.ended(outcome)
        self._forget(work)

    def append_log(self, job_id: JobId, epoch: int, line: LogLine) -> None:
        self._store.append_logs(job_id, epoch, [line])

    def missing_output(self, done: PythonDone) -> str:
        """The name of an output file that never arrived; empty if all did."""
        return next((file.name for file in done.files if self._blobs.size(file.sha256) != file.size), "")

    def release(self, work: "DurableWork") -> None:
        """The worker has ended its lease by itself."""
        self._dispatcher.release(work)

    def _forget(self, work: "DurableWork") -> None:
        self._works.pop(work.need.job_id, None)
        self._dispatcher.finished(work)
        work.wake()

    def _take_up(self, record: JobRecord) -> None:
        if not isinstance(record.task, PythonTask):
            return
        work = DurableWork(record.id, record.task, record.epoch, self)
        self._works[record.id] = work
        self._dispatcher.submit(work)

    async def _insist(self, work: "DurableWork", step: Callable[[], Coroutine[None, None, None]]) -> None:
        while True:
            try:
                await step()
                return
            except CoordinatorError as error:
                log.error("job %s: the store refused a step and will be asked again: %s", work.need.job_id, error)
                await asyncio.sleep(STORE_RETRY_S)


class DurableWork(Work):
    """One durable job while it is not over."""

    def __init__(self, job_id: JobId, task: PythonTask, epoch: int, jobs: DurableJobs) -> None:
        self.need = Need(job_id, None, "", task.limits.memory_bytes, task.limits.cpu_cores)
        self.task = task
        self.epoch = epoch
        self._jobs = jobs
        self.losses = 0
        """Leases that ended without a result since this coordinator started."""
        self._watchers: list[asyncio.Future[None]] = []

    def changed(self) -> asyncio.Future[None]:
        """Done at the next change of the job or its log."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.append(future)
        return future

    def wake(self) -> None:
        watchers, self._watchers = self._watchers, []
        for future in watchers:
            if not future.done():
                future.set_result(None)

    def granted(self, link: WorkerLink) -> None:
        self._jobs.step(self, partial(self._jobs.claim, self, link))

    def message(self, link: WorkerLink, message: JobMessage, size: int) -> None:
        link.consumed(self.need.job_id, self.epoch, size)
        match message:
            case Log():
                line = LogLine(self.epoch * LINES_PER_LEASE + message.seq, message.stream, message.data)
                self._jobs.append_log(self.need.job_id, self.epoch, line)
                self.wake()
            case Started():
                self._jobs.step(self, partial(self._jobs.mark_running, self, self.epoch))
            case Finished(result=PythonDone() as done):
                self._finished(link.worker.id, done)
            case Failed() if message.code in _RETRYABLE:
                self._jobs.release(self)
                self.lost(link.worker.id, message.message)
            case Failed():
                outcome = JobOutcome(JobState.FAILED, error_code=message.code.value, error=message.message)
                self._jobs.step(self, partial(self._jobs.complete, self, self.epoch, link.worker.id, outcome))
            case _:
                pass

    def lost(self, worker_id: WorkerId, why: str) -> None:
        self._jobs.step(self, partial(self._jobs.give_back, self, self.epoch, worker_id, why))

    def refused(self, worker_id: WorkerId, why: str) -> None:
        self._jobs.step(self, partial(self._jobs.hand_on, self, self.epoch, worker_id))

    def hopeless(self, reasons: tuple[str, ...]) -> None:
        """A durable job waits for as long as it takes; the reasons are shown with its queue position."""

    def _finished(self, worker_id: WorkerId, done: PythonDone) -> None:
        missing = self._jobs.missing_output(done)
        if missing or done.ended == "owner_returned":
            self._jobs.release(self)
            why = f"its output file {missing} never arrived" if missing else "the owner of the worker came back"
            self.lost(worker_id, why)
        else:
            self._jobs.step(self, partial(self._jobs.complete, self, self.epoch, worker_id, _outcome(done)))


def _outcome(done: PythonDone) -> JobOutcome:
    result = msgspec.msgpack.encode(done)
    if done.ended == "exit" and done.exit_code == 0:
        return JobOutcome(JobState.DONE, result=result)
    if done.ended == "cancelled":
        return JobOutcome(JobState.CANCELLED, result=result, error_code="cancelled", error=done.detail)
    if done.ended == "exit":
        return JobOutcome(
            JobState.FAILED,
            result=result,
            error_code="exit",
            error=f"The script ended with exit code {done.exit_code}.",
        )
    return JobOutcome(JobState.FAILED, result=result, error_code=done.ended, error=done.detail)

"""Durable jobs: acknowledged after the commit, run at least once, completed exactly once.

Promises: `submit` returns only when the job is on disk, and a worker is told of a lease only when that is
(`accepting.py`); every change of a job is one fenced statement of the store (`keeping.py`); a lease outlives its
worker's connection and this process, for as long as the worker can come back with it; a job that crashes is tried again
after a while, and given up when it is poison (`health.py`). A result counts only if every output file it names is in
the blob store.

A job costs two commits, one after the other: submitted and leased, then completed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.dispatch.fitting import refusal
from coordinator.dispatch.placement import Kind, kind_of
from coordinator.durable.accepting import Accepting
from coordinator.durable.assigning import Assigning
from coordinator.durable.keeping import Blobs, Clocks, Health, Keeping
from coordinator.durable.need import Models, need_of
from coordinator.durable.quota import DurableLimits
from coordinator.durable.roll import Roll
from coordinator.durable.settling import Settling
from coordinator.durable.steps import Steps
from coordinator.durable.work import DurableWork
from coordinator.errors import CoordinatorError, NotFoundError, RequestError
from coordinator.records import (
    JobKind,
    JobOutcome,
    JobRecord,
    JobState,
    KeyRecord,
    LeaseEnd,
    LogLine,
    NewJob,
    UnfinishedJob,
)
from coordinator.store.base import Store
from coordinator.tally import Tally
from coordinator.tickets import Submission, Waiting
from gogrid.ids import JobId, KeyId, new_job_id
from gogrid.protocol.job_messages import FailCode
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask, PythonTask, Task

LOG_PAGE = 500
_LONGEST_WAIT_S = 60.0
"""Whatever the wall clock says, a job that crashed is tried again after this, once the coordinator has started."""
_KINDS = {
    ChatTask: JobKind.CHAT,
    CompletionTask: JobKind.COMPLETION,
    EmbeddingTask: JobKind.EMBEDDING,
    PythonTask: JobKind.PYTHON,
}


class DurableJobs:
    """Implements `coordinator.tickets.Jobs`."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        store: Store,
        blobs: Blobs,
        models: Models,
        health: Health,
        limits: DurableLimits,
        tally: Tally,
        clocks: Clocks,
    ) -> None:
        self._dispatcher, self._store, self._models = dispatcher, store, models
        self._tally, self._clocks = tally, clocks
        self._running: set[asyncio.Task[None]] = set()
        self._roll = Roll(dispatcher, limits)
        self._settling = Settling(dispatcher, store, tally, self._running)
        assigning = Assigning(dispatcher, self._settling)
        self._keeping = Keeping(
            self._roll, dispatcher, assigning, self._settling, store, blobs, health, tally, clocks, self._running
        )
        self._accepting = Accepting(self._roll, dispatcher, assigning, store, tally)

    async def recover(self) -> int:
        """At start: take up every unfinished job as it is; returns how many. Leases run anew, for one lease time."""
        found = await self._store.unfinished()
        waiting = [work for work in map(self._take_up, found) if work is not None]
        self._dispatcher.submit(*waiting)
        return len(found)

    async def close(self) -> None:
        """Wait for what is being stored, and tell the workers what is."""
        while tasks := self._running | self._accepting.under_way:
            _, late = await asyncio.wait(tasks, timeout=5)
            if late:
                break
        self._settling.send_all()

    # --- for the HTTP layer ------------------------------------------------------------------------------------------

    async def submit(self, key: KeyRecord, submission: Submission) -> tuple[JobRecord, bool]:
        return (await self.submit_all(key, [submission]))[0]

    async def submit_all(self, key: KeyRecord, submissions: Sequence[Submission]) -> list[tuple[JobRecord, bool]]:
        await self._require_room(key.id, submissions)
        now = self._clocks.wall()
        jobs = [
            NewJob(
                id=new_job_id(),
                owner=key.id,
                kind=_KINDS[type(wanted.task)],
                task=wanted.task,
                label=wanted.label,
                created_at=now,
                idempotency_key=wanted.idempotency_key,
                body_sha256=wanted.body_sha256,
                priority=wanted.priority,
            )
            for wanted in submissions
        ]
        works = [self._work(job.id, job.owner, job.task, job.priority) for job in jobs]
        await self._require_fit(key.id, submissions, works)
        return await self._accepting.accept(jobs, works)

    async def cancel(self, job_id: JobId) -> JobRecord:
        record = await self._store.cancel(job_id, self._clocks.wall())
        work = self._roll.find(job_id)
        if work is not None and record.outcome is not None and record.state is JobState.CANCELLED:
            self._roll.withdraw(work, "cancelled by its submitter")
            self._tally.ended(record.outcome)
        return record

    async def revive(self, job_id: JobId) -> JobRecord:
        known = await self._store.job(job_id)
        if known is not None and (refusal := self._roll.refusal(known.owner, 1)) is not None:
            raise refusal
        record = await self._store.revive(job_id)
        work = self._take_up(UnfinishedJob(record, (), alone=known is not None and known.state is JobState.DEAD))
        if work is not None:
            self._dispatcher.submit(work)
        return record

    async def follow(self, job_id: JobId, after: int) -> AsyncIterator[LogLine | JobRecord]:
        while True:
            work = self._roll.find(job_id)
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

    async def ended(self, job_id: JobId, wait_s: float) -> JobRecord:
        work = self._roll.find(job_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while work is not None and not work.is_over():
                    await work.changed()
        record = work.final if work is not None else None
        record = record or await self._store.job(job_id)
        if record is None:
            raise NotFoundError(f"There is no job {job_id}.")
        return record

    def waiting(self, job_id: JobId) -> Waiting | None:
        position = self._dispatcher.position(job_id)
        if position is None:
            return None
        reasons = self._dispatcher.reasons(job_id) if self._dispatcher.connections() else ("no worker is connected",)
        return Waiting(position, reasons, self._dispatcher.starts_in(job_id))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _take_up(self, found: UnfinishedJob) -> DurableWork | None:
        """A job of the store, as this process goes on with it; None: it does not wait for a worker."""
        record = found.record
        if record.task is None:
            return None
        try:
            work = self._work(record.id, record.owner, record.task, record.priority, found)
        except CoordinatorError as error:
            self._fail(record, str(error))
            return None
        work.choosing = False
        self._roll.enter(work)
        if record.worker is not None and record.state is not JobState.QUEUED:
            work.leased(record.worker, record.epoch, heard=True)
            work.began_at = record.started_at
            self._dispatcher.adopt(work, record.worker)
            return None
        if record.not_before is not None:
            wait_s = max(0.0, record.not_before - self._clocks.wall())
            work.need = replace(work.need, not_before=self._clocks.monotonic() + min(wait_s, _LONGEST_WAIT_S))
        return work

    def _fail(self, record: JobRecord, why: str) -> None:
        """Its model is gone: nobody can run it any more."""
        outcome = JobOutcome(JobState.FAILED, error_code=FailCode.MODEL_UNUSABLE.value, error=why)

        async def fail() -> None:
            if record.state is not JobState.QUEUED:
                await self._store.give_back(record.id, record.epoch, LeaseEnd.YIELDED, why, self._clocks.wall())
            if await self._store.fail(record.id, outcome, self._clocks.wall()):
                self._tally.ended(outcome)

        Steps(self._running).add(fail)

    def _work(
        self, job_id: JobId, owner: KeyId, task: Task, priority: int, found: UnfinishedJob | None = None
    ) -> DurableWork:
        """Raises `UnknownModelError`."""
        need = need_of(job_id, owner, task, priority, self._models)
        if found is None:
            return DurableWork(need, task, self._keeping, Steps(self._running))
        return DurableWork(need, task, self._keeping, Steps(self._running), found.crashed_on, alone=found.alone)

    async def _require_room(self, owner: KeyId, submissions: Sequence[Submission]) -> None:
        """What was submitted before and is only asked for again needs no room."""
        refusal = self._roll.refusal(owner, len(submissions))
        if refusal is None:
            return
        once = submissions[0].idempotency_key
        if once is None or await self._store.submitted(owner, once) is None:
            raise refusal

    async def _require_fit(self, owner: KeyId, submissions: Sequence[Submission], works: Sequence[DurableWork]) -> None:
        """Raises `RequestError` for what is larger than any worker, unless it was submitted before."""
        fitting: set[Kind] = set()
        for line, work in enumerate(works, 1):
            kind = kind_of(work.need)
            if kind in fitting:
                continue
            fitting.add(kind)
            if too_large := refusal(self._dispatcher, work.need):
                once = submissions[0].idempotency_key
                if once is not None and await self._store.submitted(owner, once) is not None:
                    return
                where = f"line {line}: " if len(works) > 1 else ""
                raise RequestError(f"{where}{too_large}", too_large.param, too_large.code)

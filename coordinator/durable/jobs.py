"""Durable jobs: acknowledged after the commit, run at least once, completed exactly once.

Promises: `submit` returns only when the job is on disk, and a worker is told of a lease only when that is; every change
of a job is one fenced statement of the store (`lifecycle.py`); a lease outlives its worker's connection and this
process, for as long as the worker can come back with it; a job that crashes is tried again after a while, and given up
when it is poison (`health.py`). A result counts only if every output file it names is in the blob store.

A job costs two commits, one after the other: submitted and leased, then completed.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.dispatch.fitting import length_bytes, refusal
from coordinator.dispatch.placement import GPU, Need
from coordinator.durable.final import final_record
from coordinator.durable.quota import DurableLimits, Quota
from coordinator.durable.settling import Settling
from coordinator.durable.steps import Batch, Steps
from coordinator.durable.work import Claim, DurableWork, End, dead_outcome
from coordinator.errors import CoordinatorError, NotFoundError, RequestError
from coordinator.links import WorkerLink
from coordinator.records import (
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
    UnfinishedJob,
)
from coordinator.store.base import Store
from coordinator.tally import Tally
from coordinator.tickets import Submission, Waiting
from gogrid.ids import JobId, KeyId, Sha256, WorkerId, new_job_id
from gogrid.protocol.job_messages import FailCode, Failed, Finished, PythonDone
from gogrid.protocol.messages import Assign, LeaseHeld
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask, PythonTask, Task

log = logging.getLogger(__name__)

LOG_PAGE = 500
_AT_ONCE = 256
"""Jobs of a bulk that are placed in one turn of the event loop."""
_LONGEST_WAIT_S = 60.0
"""Whatever the wall clock says, a job that crashed is tried again after this, once the coordinator has started."""
_KINDS = {
    ChatTask: JobKind.CHAT,
    CompletionTask: JobKind.COMPLETION,
    EmbeddingTask: JobKind.EMBEDDING,
    PythonTask: JobKind.PYTHON,
}


class Blobs(Protocol):
    """What durable jobs ask of the blob store."""

    def size(self, digest: str) -> int | None:
        """Bytes of a blob; None if it is not here."""


class Models(Protocol):
    """What durable jobs ask of the catalogue."""

    def with_digest(self, digest: Sha256) -> ModelRecord:
        """Raises `UnknownModelError`."""


class Health(Protocol):
    """See `sick_workers.SickWorkers`."""

    def crashed(self, worker_id: WorkerId, job_id: JobId, why: str, *, vanished: bool) -> None: ...

    def crashed_elsewhere(self, job_id: JobId) -> None: ...

    def finished(self, worker_id: WorkerId) -> None: ...


@dataclass(frozen=True, slots=True)
class Clocks:
    monotonic: Callable[[], float]
    """What the dispatcher lives by."""
    wall: Callable[[], float]


class DurableJobs:
    """Implements `coordinator.tickets.Jobs` and `coordinator.durable.work.Keeper`."""

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
        self._dispatcher, self._store, self._blobs, self._models = dispatcher, store, blobs, models
        self._health, self._quota, self._tally, self._clocks = health, Quota(limits), tally, clocks
        self._works: dict[JobId, DurableWork] = {}
        self._running: set[asyncio.Task[None]] = set()
        self.claims: Batch[Claim] = Batch(self._claim, self._running)
        self.ends: Batch[End] = Batch(self._complete, self._running)
        self._accepting: set[asyncio.Task[list[tuple[JobRecord, bool]]]] = set()
        self._settling = Settling(dispatcher, store, tally, self._running)
        dispatcher.unclaimed = self._unclaimed

    async def recover(self) -> int:
        """At start: take up every unfinished job as it is; returns how many. Leases run anew, for one lease time."""
        found = await self._store.unfinished()
        waiting = [work for work in map(self._take_up, found) if work is not None]
        self._dispatcher.submit(*waiting)
        return len(found)

    async def close(self) -> None:
        """Wait for what is being stored."""
        while tasks := self._running | self._accepting:
            _, late = await asyncio.wait(tasks, timeout=5)
            if late:
                return

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
        self._quota.enter(key.id, len(works))
        accepting = asyncio.get_running_loop().create_task(self._accept(jobs, works))
        self._accepting.add(accepting)
        accepting.add_done_callback(self._accepting.discard)
        return await asyncio.shield(accepting)  # a caller that leaves undoes nothing

    async def cancel(self, job_id: JobId) -> JobRecord:
        record = await self._store.cancel(job_id, self._clocks.wall())
        work = self._works.get(job_id)
        if work is not None and record.outcome is not None and record.state is JobState.CANCELLED:
            self._dispatcher.withdraw(job_id, "cancelled by its submitter")
            self._tally.ended(record.outcome)
            self._forget(work)
        return record

    async def revive(self, job_id: JobId) -> JobRecord:
        known = await self._store.job(job_id)
        if known is not None and (refusal := self._quota.refusal(known.owner, 1)) is not None:
            raise refusal
        record = await self._store.revive(job_id)
        work = self._take_up(UnfinishedJob(record, (), alone=known is not None and known.state is JobState.DEAD))
        if work is not None:
            self._dispatcher.submit(work)
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

    async def ended(self, job_id: JobId, wait_s: float) -> JobRecord:
        work = self._works.get(job_id)
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

    # --- steps (`Keeper`) --------------------------------------------------------------------------------------------

    async def _claim(self, claims: list[Claim]) -> None:
        claims = [claim for claim in claims if not claim.work.is_over()]
        epochs = await self._store.claim_all([(claim.work.job_id, claim.worker_id) for claim in claims])
        for claim, epoch in zip(claims, epochs, strict=True):
            if epoch is None:
                self._forget(claim.work)
            else:
                claim.work.claimed = epoch
                self._assign(claim.work, claim.worker_id)

    async def mark_running(self, work: DurableWork, began_at: float) -> None:
        if not work.is_over():
            await self._store.mark_running(work.job_id, work.claimed, began_at)
            work.wake()

    async def _complete(self, ends: list[End]) -> None:
        ends = [end for end in ends if not end.work.is_over()]
        now = self._clocks.wall()
        reports = [
            Report(end.work.job_id, end.work.claimed, end.worker_id, end.outcome, now, end.work.began_at)
            for end in ends
        ]
        completions = await self._store.complete_all(reports)
        for end, report, completion in zip(ends, reports, completions, strict=True):
            if completion is Completion.ACCEPTED:
                end.work.final = final_record(end.work.submitted, report)
                self._tally.ended(end.outcome)
                self._health.finished(end.worker_id)
            elif completion is Completion.FENCED and not end.work.is_over():
                self._tally.fenced += 1
            self._settle(end.work)
            self._forget(end.work)

    async def give_back(self, work: DurableWork, worker_id: WorkerId, end: LeaseEnd, why: str, delay_s: float) -> None:
        if work.is_over():
            return
        now = self._clocks.wall()
        not_before = now + delay_s if delay_s else None
        if not await self._store.give_back(work.job_id, work.claimed, end, why, now, not_before):
            self._settle(work)
            self._forget(work)
            return
        self._settle(work)
        if work.is_over():
            return
        log.info("job %s waits again after its lease on %s was %s: %s", work.job_id, worker_id, end.value, why)
        due = self._clocks.monotonic() + delay_s if delay_s else 0.0
        work.need = replace(work.need, not_before=due, avoid=frozenset(work.crashed_on))
        self._dispatcher.retry(work, worker_id)
        work.wake()

    async def bury(self, work: DurableWork, worker_id: WorkerId, end: LeaseEnd, why: str) -> None:
        if work.is_over():
            return
        outcome = dead_outcome(work.crashed_on, why)
        if await self._store.bury(work.job_id, work.claimed, end, why, outcome, self._clocks.wall()):
            log.warning("job %s is given up: %s", work.job_id, outcome.error)
            self._tally.ended(outcome)
        self._settle(work)
        self._forget(work)

    # --- at once (`Keeper`) ------------------------------------------------------------------------------------------

    def reported(self, work: DurableWork) -> None:
        self._dispatcher.release(work)

    def released(self, work: DurableWork) -> None:
        self._dispatcher.release(work)

    def crashed(self, work: DurableWork, worker_id: WorkerId, end: LeaseEnd, why: str) -> None:
        self._tally.crashes += 1
        if set(work.crashed_on) != {worker_id}:
            self._health.crashed_elsewhere(work.job_id)
        elif end is not LeaseEnd.ERRORED:
            self._health.crashed(worker_id, work.job_id, why, vanished=end is LeaseEnd.VANISHED)

    def append_log(self, work: DurableWork, line: LogLine) -> None:
        self._store.append_logs(work.job_id, work.epoch, [line])

    def missing_output(self, done: PythonDone) -> str:
        return next((file.name for file in done.files if self._blobs.size(file.sha256) != file.size), "")

    def wall(self) -> float:
        return self._clocks.wall()

    def jitter(self) -> float:
        return random.random()  # noqa: S311  # spreads retries, guards nothing

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _accept(self, jobs: Sequence[NewJob], works: Sequence[DurableWork]) -> list[tuple[JobRecord, bool]]:
        """Place the jobs in memory, store them with the leases that came of it, and only then tell the workers."""
        for work in works:
            work.steps.hold()
            self._works[work.job_id] = work
        for some in _slices(works):
            self._dispatcher.submit(*some)
            if len(some) < len(works):
                await asyncio.sleep(0)  # others have their turn between the parts of a large bulk
        for work in works:
            work.choosing = False
        wanted = [(job, work.granted_to) for job, work in zip(jobs, works, strict=True)]
        try:
            stored = await self._store.submit_all(wanted)
        except CoordinatorError:
            for work in works:
                self._dispatcher.withdraw(work.job_id, "it could not be stored")
                self._forget(work)
            raise
        for work, (record, new) in zip(works, stored, strict=True):
            if new:
                self._tally.accepted += 1
                work.submitted = record
                self._stored(work)
            else:
                self._dispatcher.withdraw(work.job_id, "it was submitted before")
                self._forget(work)
        return stored

    def _stored(self, work: DurableWork) -> None:
        if work.granted_to is not None:
            work.claimed = 1
            self._assign(work, work.granted_to)
        work.steps.go()

    def _assign(self, work: DurableWork, worker_id: WorkerId) -> None:
        """The lease is on disk: tell the worker, if it is still its own and there to be told."""
        if not self._dispatcher.holds(work.job_id, worker_id):
            return  # lost meanwhile: that step comes next
        link = self._dispatcher.link_of(worker_id)
        if link is None:
            self._dispatcher.release(work)
            work.lost(worker_id, "the worker was gone before it was told")
            return
        work.leased(worker_id, work.claimed)
        link.send(Assign(job_id=work.job_id, epoch=work.claimed, task=work.task, durable=True, alone=work.alone))

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
        self._works[record.id] = work
        self._quota.enter(record.owner)
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
        if isinstance(task, PythonTask):
            need = Need(job_id, None, GPU if task.gpu else "", task.limits.memory_bytes, task.limits.cpu_cores)
        else:
            model = self._models.with_digest(task.model.digest)
            length = length_bytes(model, task)
            need = Need(job_id, model.digest, model.engine, model.memory_bytes + length, length_bytes=length)
        need = replace(need, owner=owner, priority=priority)
        if found is None:
            return DurableWork(need, task, self, Steps(self._running))
        return DurableWork(need, task, self, Steps(self._running), found.crashed_on, alone=found.alone)

    async def _require_room(self, owner: KeyId, submissions: Sequence[Submission]) -> None:
        """What was submitted before and is only asked for again needs no room."""
        refusal = self._quota.refusal(owner, len(submissions))
        if refusal is None:
            return
        once = submissions[0].idempotency_key
        if once is None or await self._store.submitted(owner, once) is None:
            raise refusal

    async def _require_fit(self, owner: KeyId, submissions: Sequence[Submission], works: Sequence[DurableWork]) -> None:
        """Raises `RequestError` for what is larger than any worker, unless it was submitted before."""
        for line, work in enumerate(works, 1):
            if too_large := refusal(self._dispatcher, work.need):
                once = submissions[0].idempotency_key
                if once is not None and await self._store.submitted(owner, once) is not None:
                    return
                where = f"line {line}: " if len(works) > 1 else ""
                raise RequestError(f"{where}{too_large}", too_large.param, too_large.code)

    def _unclaimed(self, link: WorkerLink, job_id: JobId, epoch: int, message: Finished | Failed) -> None:
        """An end that no valid lease tells: it came too late, or again."""
        work = self._works.get(job_id)
        if work is None or not work.settles(link.worker.id, epoch):
            self._settling.stale(link.worker.id, LeaseHeld(job_id=job_id, epoch=epoch))

    def _settle(self, work: DurableWork) -> None:
        told = work.settled()
        if told is not None:
            self._settling.settle(*told)

    def _forget(self, work: DurableWork) -> None:
        work.end()
        if self._works.pop(work.job_id, None) is not None:
            self._quota.leave(work.need.owner)
        self._dispatcher.finished(work)


def _slices(works: Sequence[DurableWork]) -> Iterator[Sequence[DurableWork]]:
    for begin in range(0, len(works), _AT_ONCE):
        yield works[begin : begin + _AT_ONCE]

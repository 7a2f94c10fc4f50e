"""What becomes of a durable job's events: steps in the store, and what follows from them at once.

Promises: every step is one fenced statement of the store (`lifecycle.py`), insisted on (`steps.py`); claims and ends of
one turn of the event loop go together; a worker hears that an end is kept only when it is on disk.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.durable.assigning import Assigning
from coordinator.durable.roll import Roll
from coordinator.durable.settling import Settling
from coordinator.durable.steps import Batch
from coordinator.durable.work import Claim, DurableWork, End, dead_outcome
from coordinator.links import WorkerLink
from coordinator.records import Completion, LeaseEnd, LogLine, Report
from coordinator.store.base import Store
from coordinator.tally import Tally
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.job_messages import Failed, Finished, PythonDone
from gogrid.protocol.messages import LeaseHeld

log = logging.getLogger(__name__)
_LONGEST_REFUSAL = 200
"""Characters of a worker's reason that are shown with the job while it waits."""


class Blobs(Protocol):
    """What durable jobs ask of the blob store."""

    def size(self, digest: str) -> int | None:
        """Bytes of a blob; None if it is not here."""


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


class Keeping:
    """Implements `coordinator.durable.work.Keeper`."""

    def __init__(
        self,
        roll: Roll,
        dispatcher: Dispatcher,
        assigning: Assigning,
        settling: Settling,
        store: Store,
        blobs: Blobs,
        health: Health,
        tally: Tally,
        clocks: Clocks,
        running: "set[asyncio.Task[None]]",
    ) -> None:
        """`running` holds the steps under way."""
        self._roll, self._dispatcher, self._assigning, self._settling = roll, dispatcher, assigning, settling
        self._store, self._blobs = store, blobs
        self._health, self._tally, self._clocks = health, tally, clocks
        self.claims: Batch[Claim] = Batch(self._claim, running)
        self.ends: Batch[End] = Batch(self._complete, running)
        dispatcher.unclaimed = self._unclaimed

    # --- steps -------------------------------------------------------------------------------------------------------

    async def _claim(self, claims: list[Claim]) -> None:
        claims = [claim for claim in claims if not claim.work.is_over()]
        epochs = await self._store.claim_all([(claim.work.job_id, claim.worker_id) for claim in claims])
        for claim, epoch in zip(claims, epochs, strict=True):
            if epoch is None:
                self._roll.forget(claim.work)
            else:
                claim.work.claimed = epoch
                self._assigning.assign(claim.work, claim.worker_id)

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
                end.work.accepted = report
                self._tally.ended(end.outcome)
                self._health.finished(end.worker_id)
            elif completion is Completion.FENCED and not end.work.is_over():
                self._tally.fenced += 1
            self._settle(end.work)
            self._roll.forget(end.work)

    async def give_back(self, work: DurableWork, worker_id: WorkerId, end: LeaseEnd, why: str, delay_s: float) -> None:
        if work.is_over():
            return
        now = self._clocks.wall()
        not_before = now + delay_s if delay_s else None
        if not await self._store.give_back(work.job_id, work.claimed, end, why, now, not_before):
            self._settle(work)
            self._roll.forget(work)
            return
        self._settle(work)
        if work.is_over():
            return
        log.info("job %s waits again after its lease on %s was %s: %s", work.job_id, worker_id, end.value, why)
        due = self._clocks.monotonic() + delay_s if delay_s else 0.0
        told = why[:_LONGEST_REFUSAL] if end is LeaseEnd.REFUSED else ""
        work.need = replace(work.need, not_before=due, refusal=told, avoid=frozenset(work.crashed_on))
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
        self._roll.forget(work)

    # --- at once -----------------------------------------------------------------------------------------------------

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

    def _unclaimed(self, link: WorkerLink, job_id: JobId, epoch: int, message: Finished | Failed) -> None:
        """An end that no valid lease tells: it came too late, or again."""
        work = self._roll.find(job_id)
        if work is None or not work.settles(link.worker.id, epoch):
            self._settling.stale(link.worker.id, LeaseHeld(job_id=job_id, epoch=epoch))

    def _settle(self, work: DurableWork) -> None:
        told = work.settled()
        if told is not None:
            self._settling.settle(*told)

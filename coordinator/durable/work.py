"""One durable job while it is not over: what dispatch tells it becomes steps in the store.

Decides at once, in the event loop's turn, what follows from an event; what has to be stored is done by `DurableJobs`,
step after step. So the store may lag behind this picture, and never contradicts it.
"""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Protocol

import msgspec

from coordinator.dispatch.dispatcher import Work
from coordinator.dispatch.placement import Need
from coordinator.durable.final import final_record
from coordinator.durable.gathering import Began, Gathering, NoResult, Told
from coordinator.durable.health import back_off_s, fence_counts, is_poison, refused_back_off_s
from coordinator.durable.steps import Batch, Steps
from coordinator.links import WorkerLink
from coordinator.records import JobOutcome, JobRecord, JobState, LeaseEnd, LogLine, Report
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.job_messages import JobMessage, PythonDone
from gogrid.protocol.messages import LeaseHeld
from gogrid.protocol.tasks import Task

YIELDED_RETRY_S = 1.0
"""A job that the same worker has given back twice is placed again after this."""
RUNNING_AFTER_S = 0.05
"""A job that has begun is stored as running only if it is not over by then."""


class Claim(msgspec.Struct, frozen=True):
    """This worker was chosen."""

    work: "DurableWork"
    worker_id: WorkerId


class End(msgspec.Struct, frozen=True):
    """This worker has told how the job ended."""

    work: "DurableWork"
    worker_id: WorkerId
    outcome: JobOutcome


class Keeper(Protocol):
    """What a job asks of `DurableJobs`. The first two groups are steps, which wait for the store."""

    @property
    def claims(self) -> "Batch[Claim]": ...

    @property
    def ends(self) -> "Batch[End]": ...

    async def mark_running(self, work: "DurableWork", began_at: float) -> None: ...

    async def give_back(
        self, work: "DurableWork", worker_id: WorkerId, end: LeaseEnd, why: str, delay_s: float
    ) -> None: ...

    async def bury(self, work: "DurableWork", worker_id: WorkerId, end: LeaseEnd, why: str) -> None: ...

    # at once

    def reported(self, work: "DurableWork") -> None:
        """The worker has told the end: its place is free."""

    def released(self, work: "DurableWork") -> None:
        """The worker has ended the lease by itself, without a result."""

    def crashed(self, work: "DurableWork", worker_id: WorkerId, end: LeaseEnd, why: str) -> None: ...

    def append_log(self, work: "DurableWork", line: LogLine) -> None: ...

    def missing_output(self, done: PythonDone) -> str:
        """The name of an output file that never arrived; empty if all did."""

    def wall(self) -> float: ...

    def jitter(self) -> float:
        """0..1."""


class DurableWork(Work):
    """See the module's contract."""

    def __init__(
        self,
        need: Need,
        task: Task,
        keeper: Keeper,
        steps: Steps,
        crashed_on: tuple[WorkerId, ...] = (),
        *,
        alone: bool = False,
    ) -> None:
        self.need = replace(need, avoid=need.avoid | frozenset(crashed_on)) if crashed_on else need
        self.task = task
        self.choosing = True
        """A worker that is chosen now is stored together with the job."""
        self.steps = steps
        self.crashed_on = list(crashed_on)
        self.alone = alone
        """It may kill what runs it: from now on that runs nothing else meanwhile."""
        self._over = False
        self.granted_to: WorkerId | None = None
        """Who was chosen while `choosing`."""
        self.claimed = 0
        """The epoch of the latest lease in the store; `epoch` is 0 while no worker may speak for it."""
        self.began_at: float | None = None
        self.submitted: JobRecord | None = None
        """As it was stored first, if by this process."""
        self.accepted: Report | None = None
        """Of its end, as the store has taken it."""
        self._keeper = keeper
        self._gathering = Gathering(task, 0)
        self._heard = False
        self._reported: LeaseHeld | None = None
        self._holder: WorkerId | None = None
        self._yielded_by: WorkerId | None = None
        self._refusals = 0
        """In a row."""
        self._fences = 0
        """Since this process took the job up; what they have counted for as crashes is on disk."""
        self._watchers: list[asyncio.Future[None]] = []

    @property
    def job_id(self) -> JobId:
        return self.need.job_id

    @property
    def final(self) -> JobRecord | None:
        """As it is stored last, if that needs no question."""
        return final_record(self.submitted, self.accepted) if self.accepted is not None else None

    def is_over(self) -> bool:
        return self._over

    def end(self) -> None:
        """Nothing more is to be done."""
        self._over = True
        self.steps.drop()
        self.wake()

    def changed(self) -> "asyncio.Future[None]":
        """Done at the next change of the job or its log."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.append(future)
        return future

    def wake(self) -> None:
        watchers, self._watchers = self._watchers, []
        for future in watchers:
            if not future.done():
                future.set_result(None)

    def leased(self, worker_id: WorkerId, epoch: int, *, heard: bool = False) -> None:
        """The store knows this lease: from now on its worker may speak. `heard`: it may have, before."""
        self.epoch = self.claimed = epoch
        self._holder = worker_id
        self._heard = heard
        self._reported = None
        self.began_at = None
        self._gathering = Gathering(self.task, epoch)

    # Work

    def granted(self, link: WorkerLink) -> None:
        self.epoch = 0
        if self.choosing:
            self.granted_to = link.worker.id
        else:
            self.steps.add_to(self._keeper.claims, Claim(self, link.worker.id))

    def message(self, link: WorkerLink, message: JobMessage, size: int) -> None:
        link.consumed(self.job_id, self.epoch, size)
        self._heard = True
        worker_id = link.worker.id
        match self._gathering.take(message):
            case LogLine() as line:
                self._keeper.append_log(self, line)
                self.wake()
            case Began():
                self._begin()
            case Told() as told:
                missing = self._keeper.missing_output(told.done) if isinstance(told.done, PythonDone) else ""
                if missing:
                    self._give_up(worker_id, LeaseEnd.CRASHED, f"its output file {missing} never arrived")
                else:
                    self._complete(worker_id, told.outcome)
            case NoResult() as nothing:
                self._give_up(worker_id, nothing.end, nothing.why)
            case None:
                pass

    def settled(self) -> tuple[WorkerId, LeaseHeld] | None:
        """The end that a worker has told, and that is on disk now: whom to say so. Once."""
        reported, self._reported = self._reported, None
        return (self._holder, reported) if reported is not None and self._holder is not None else None

    def settles(self, worker_id: WorkerId, epoch: int) -> bool:
        return self._reported is not None and self._holder == worker_id and self._reported.epoch == epoch

    def lost(self, worker_id: WorkerId, why: str) -> None:
        """A worker that has said nothing of the lease may never have heard of it: the job is not to blame."""
        self._end(worker_id, LeaseEnd.VANISHED if self._heard else LeaseEnd.NOT_SENT, why)

    def dropped(self, worker_id: WorkerId, why: str) -> None:
        self._end(worker_id, LeaseEnd.VANISHED, why)

    def yielded(self, worker_id: WorkerId, why: str) -> None:
        self._end(worker_id, LeaseEnd.YIELDED, why)

    def refused(self, worker_id: WorkerId, why: str) -> None:
        self._end(worker_id, LeaseEnd.REFUSED, why)

    def hopeless(self, reasons: tuple[str, ...]) -> None:
        """A durable job waits for as long as it takes; the reasons are shown with its queue position."""

    # inside

    def _begin(self) -> None:
        if self.began_at is None:
            self.began_at = self._keeper.wall()
            asyncio.get_running_loop().call_soon(self._goes_on, self.epoch, self.began_at)

    def _goes_on(self, epoch: int, began_at: float) -> None:
        """Most small jobs end in the turn of the event loop in which they begin, and need no timer."""
        if not self._over and self.epoch == epoch:
            asyncio.get_running_loop().call_later(RUNNING_AFTER_S, self._still_running, epoch, began_at)

    def _still_running(self, epoch: int, began_at: float) -> None:
        if not self._over and self.epoch == epoch:
            self.steps.add(partial(self._keeper.mark_running, self, began_at))

    def _complete(self, worker_id: WorkerId, outcome: JobOutcome) -> None:
        self._reported = LeaseHeld(job_id=self.job_id, epoch=self.epoch)
        self.epoch = 0
        self._keeper.reported(self)
        self.steps.add_to(self._keeper.ends, End(self, worker_id, outcome))

    def _give_up(self, worker_id: WorkerId, end: LeaseEnd, why: str) -> None:
        """The worker has said that nothing comes of this lease."""
        self._reported = LeaseHeld(job_id=self.job_id, epoch=self.epoch)
        self._keeper.released(self)
        self._end(worker_id, end, why)

    def _end(self, worker_id: WorkerId, end: LeaseEnd, why: str) -> None:
        """The lease is over in dispatch's eyes; now in the store, too."""
        self.epoch = 0
        self._heard = False
        if end is LeaseEnd.IN_COMPANY and self.alone:
            end = LeaseEnd.CRASHED  # only a worker that lies says so: it would go on like this for ever
        if end is LeaseEnd.FENCED:
            self._fences += 1
            if fence_counts(self._fences):
                end = LeaseEnd.VANISHED  # or a job that freezes every machine would go on like this for ever
        self.alone = self.alone or end in (LeaseEnd.CRASHED, LeaseEnd.IN_COMPANY)
        if not end.is_crash:
            again = self._yielded_by == worker_id
            self._yielded_by = worker_id if end.is_yield else None
            self._refusals = self._refusals + 1 if end is LeaseEnd.REFUSED else 0
            delay_s = refused_back_off_s(self._refusals) or (YIELDED_RETRY_S if again else 0.0)
            if end is LeaseEnd.FENCED:
                delay_s = back_off_s(self._fences, self._keeper.jitter())
            self.steps.add(partial(self._keeper.give_back, self, worker_id, end, why, delay_s))
            return
        self.crashed_on.append(worker_id)
        self._keeper.crashed(self, worker_id, end, why)
        if is_poison(self.crashed_on):
            self.steps.add(partial(self._keeper.bury, self, worker_id, end, why))
        else:
            delay_s = back_off_s(len(self.crashed_on), self._keeper.jitter())
            self.steps.add(partial(self._keeper.give_back, self, worker_id, end, why, delay_s))


def dead_outcome(crashed_on: list[WorkerId], why: str) -> JobOutcome:
    """What is remembered of a job that was given up."""
    workers = len(set(crashed_on))
    error = (
        f"It crashed {len(crashed_on)} times on {workers} worker{'s' if workers > 1 else ''}, "
        f"the last time because: {why}"
    )
    return JobOutcome(JobState.DEAD, error_code="worker_lost", error=error)

"""The shell around the scheduler: links, leases and the work that waits for them.

Promises: every piece of `Work` handed to `submit` hears exactly one of `finished`, `hopeless` or its own `withdraw`; a
message of a lease that is no longer valid reaches nobody; placement runs at once when something changes, once for each
turn of the event loop; nothing is hopeless while a worker has a lease's time to come back after the coordinator's own
start. Decides nothing else itself: placement is `scheduler.py`, retries are the work's own.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from coordinator.dispatch.placement import Decision, Need, Oversized
from coordinator.dispatch.scheduler import Grant, Lost, Scheduler
from coordinator.links import WorkerLink
from gogrid.ids import JobId, Sha256, WorkerId
from gogrid.protocol.job_messages import Failed, Finished, JobMessage
from gogrid.protocol.messages import Cancel, Drain, Heartbeat, HeartbeatAck, LeaseHeld, Refuse
from gogrid.protocol.tasks import Task
from gogrid.protocol.worker_report import WorkerReport

log = logging.getLogger(__name__)

_MAY_COME_BACK = "workers that were here before the coordinator started may still come back"


class Work(ABC):
    """One job as dispatch sees it. Called on the event loop; must not block."""

    need: Need
    task: Task
    epoch: int = 0
    """Of the current lease; messages of any other are dropped."""
    moves: bool = False
    """Somebody waits for it at this moment: it leaves a worker that falls silent, and one that is drained, at once."""

    @abstractmethod
    def granted(self, link: WorkerLink) -> None:
        """A worker has been chosen: raise the epoch and send the assignment, now or after a commit."""

    @abstractmethod
    def message(self, link: WorkerLink, message: JobMessage, size: int) -> None:
        """The worker says something. The work must see to it that `link.consumed` is told `size`."""

    @abstractmethod
    def lost(self, worker_id: WorkerId, why: str) -> None:
        """The lease ended without a result. Either `Dispatcher.retry` or end it."""

    def dropped(self, worker_id: WorkerId, why: str) -> None:
        """Like `lost`, but the worker had begun: it ended the job's stream without a result."""
        self.lost(worker_id, why)

    def settles(self, worker_id: WorkerId, epoch: int) -> bool:
        """Whether this lease has told its end and that is being stored: the worker keeps it until then."""
        return False

    def yielded(self, worker_id: WorkerId, why: str) -> None:
        """Like `lost`, but through no fault: the lease was ended so that the work goes on elsewhere."""
        self.lost(worker_id, why)

    @abstractmethod
    def refused(self, worker_id: WorkerId, why: str) -> None:
        """The worker would not take it, and nothing has happened to it. `Dispatcher.retry_later` or end it."""

    @abstractmethod
    def hopeless(self, reasons: tuple[str, ...]) -> None:
        """No connected worker could take it, nor will one that stands back. It still waits unless it is withdrawn."""


Unclaimed = Callable[[WorkerLink, JobId, int, Finished | Failed], None]


@dataclass(frozen=True, slots=True)
class Connection:
    link: WorkerLink
    since: float
    """Wall clock."""


class Dispatcher:
    """Implements `coordinator.links.LinkHandler`."""

    def __init__(
        self,
        scheduler: Scheduler,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        return_s: float = 0.0,
    ) -> None:
        """`return_s`: how long after the start workers that are enrolled are expected back."""
        self._scheduler = scheduler
        self._monotonic = monotonic
        self._wall = wall
        self._works: dict[JobId, Work] = {}
        self._connections: dict[WorkerId, Connection] = {}
        self._unconfirmed: dict[WorkerId, frozenset[JobId]] = {}
        """What workers held when they connected again, until their first heartbeat names it."""
        self.unclaimed: Unclaimed = lambda link, job_id, epoch, message: None
        """Told of ends that come from a lease that is not valid."""
        self.answering: Callable[[WorkerId], None] = lambda worker_id: None
        """Told before a worker's heartbeat is answered: what must be said first."""
        self.enrolled: Callable[[], Collection[WorkerId]] = lambda: ()
        """Every worker that may work here, connected or not."""
        self._placing: asyncio.Handle | None = None
        self._return_by: float | None = monotonic() + return_s
        """Monotonic seconds; None: it has passed."""

    # work

    def submit(self, *works: Work) -> None:
        for work in works:
            self._works[work.need.job_id] = work
            self._scheduler.add(work.need)
        self._place()

    def adopt(self, work: Work, worker_id: WorkerId) -> None:
        """Work that was leased to a worker before this coordinator started."""
        self._works[work.need.job_id] = work
        self._scheduler.adopt(work.need, worker_id, self._monotonic())

    def outlook(self, need: Need) -> Decision:
        """What planning says of a job before it is accepted."""
        outlook = self._scheduler.outlook(need)
        return replace(outlook, hopeless=False) if outlook.hopeless and self._may_come_back() else outlook

    def retry(self, work: Work, avoid: WorkerId | None) -> None:
        """Work that was lost waits again."""
        if work.need.job_id in self._works:
            self._scheduler.retry(work.need, avoid)
            self._place_soon()

    def release(self, work: Work) -> None:
        """The worker ended the lease by itself; `retry` or `finished` must follow."""
        self._scheduler.release(work.need.job_id)
        self._place_soon()

    def retry_later(self, work: Work, avoid: WorkerId, delay_s: float) -> None:
        """Like `retry`, but not before the worker had time to tell what has changed."""
        asyncio.get_running_loop().call_later(delay_s, self.retry, work, avoid)

    def finished(self, work: Work) -> None:
        """The work has its result, or has given up."""
        self._works.pop(work.need.job_id, None)
        self._scheduler.remove(work.need.job_id)
        self._place_soon()

    def withdraw(self, job_id: JobId, reason: str) -> None:
        """Nobody wants this job any more: stop it where it runs. Unknown jobs are ignored."""
        work = self._works.pop(job_id, None)
        lease = self._scheduler.remove(job_id)
        if work is not None and lease is not None and lease.worker_id in self._connections:
            cancel = Cancel(job_id=job_id, epoch=work.epoch, reason=reason)
            self._connections[lease.worker_id].link.send(cancel)
        self._place_soon()

    def holds(self, job_id: JobId, worker_id: WorkerId) -> bool:
        """Whether this job is leased to this worker now."""
        lease = self._scheduler.lease(job_id)
        return lease is not None and lease.worker_id == worker_id

    def link_of(self, worker_id: WorkerId) -> WorkerLink | None:
        """The worker's connection now; None: it has none."""
        connection = self._connections.get(worker_id)
        return connection.link if connection is not None else None

    def position(self, job_id: JobId) -> int | None:
        return self._scheduler.position(job_id)

    def serves_in(self, model: Sha256, count: int) -> float | None:
        """Seconds in which so many requests of a model end, as measured; None: nothing to judge by."""
        return self._scheduler.serves_in(model, count)

    def reasons(self, job_id: JobId) -> tuple[str, ...]:
        reasons = self._scheduler.reasons(job_id)
        waits = job_id in self._works and self._scheduler.lease(job_id) is None
        return (_MAY_COME_BACK,) if waits and not reasons and self._may_come_back() else reasons

    def oversized(self, need: Need) -> Oversized | None:
        """Why no worker lends enough for this, with the numbers; None: one does, or not all have told."""
        return self._scheduler.oversized(need, self.enrolled)

    def starts_in(self, job_id: JobId) -> float | None:
        """Seconds until a waiting job is placed, by what was seen of late; None: it cannot be told."""
        return self._scheduler.starts_in(job_id)

    @property
    def waiting(self) -> int:
        return self._scheduler.waiting

    @property
    def leased(self) -> int:
        return self._scheduler.leased

    # workers, for display and admin

    def connections(self) -> dict[WorkerId, Connection]:
        return dict(self._connections)

    def report(self, worker_id: WorkerId) -> WorkerReport | None:
        return self._scheduler.report(worker_id)

    def reports(self) -> Iterable[WorkerReport]:
        """Of the connected workers."""
        return self._scheduler.reports()

    def is_silent(self, worker_id: WorkerId) -> bool:
        return self._scheduler.is_silent(worker_id)

    def tasks_of(self, worker_id: WorkerId) -> list[tuple[JobId, Task]]:
        """What is leased to a worker now."""
        held = self._scheduler.held_by(worker_id)
        return [(job_id, self._works[job_id].task) for job_id in held if job_id in self._works]

    def leases_of(self, worker_id: WorkerId) -> dict[tuple[JobId, int], Task]:
        """The same, by job and epoch."""
        return {(job_id, self._works[job_id].epoch): task for job_id, task in self.tasks_of(worker_id)}

    def set_draining(self, worker_id: WorkerId, draining: bool) -> None:
        """Give this worker nothing new. What moves and has a place elsewhere goes there now; the rest ends here."""
        self._scheduler.set_draining(worker_id, draining)
        connection = self._connections.get(worker_id)
        if connection is not None:
            connection.link.send(Drain(on=draining, reason="the admin drains this worker"))
            if draining:
                self._hand_over(connection.link, "the admin drains this worker")
        self._place_soon()

    def set_quarantined(self, worker_id: WorkerId, why: str) -> None:
        """Give this worker nothing new because of `why`; empty: the admin has let it out."""
        self._scheduler.set_quarantined(worker_id, why)
        self._place_soon()

    def expire_leases(self) -> None:
        now = self._monotonic()
        for lost in self._scheduler.expire(now):
            self._lost(lost)
        if self._return_by is not None and self._return_by <= now:
            self._return_by = None
            self._place_soon()
        due = self._scheduler.next_due()
        if due is not None and due <= now:
            self._place_soon()

    # LinkHandler

    def connected(self, link: WorkerLink) -> None:
        worker = link.worker
        if worker.id in self._connections:
            self._gone(worker.id, "it connected again", for_good=False)
        self._unconfirmed[worker.id] = frozenset(self._scheduler.held_by(worker.id))
        self._connections[worker.id] = Connection(link, self._wall())
        self._scheduler.joined(worker.id, worker.name, worker.draining, worker.quarantined)
        if worker.draining:
            link.send(Drain(on=True, reason="the admin drains this worker"))
        log.info("worker %s (%s) connected from %s", worker.name, worker.id, link.remote)

    def reported(self, link: WorkerLink, report: WorkerReport) -> None:
        if self._is_current(link):
            self._scheduler.reported(link.worker.id, report)
            self._place_soon()

    def refused(self, link: WorkerLink, refuse: Refuse) -> None:
        if self._is_current(link) and self._valid(link, refuse.job_id, refuse.epoch) is not None:
            log.info("worker %s refused %s: %s", link.worker.name, refuse.job_id, refuse.reason)
            work = self._works[refuse.job_id]
            self._scheduler.release(refuse.job_id)
            work.refused(link.worker.id, refuse.reason)
            self._place_soon()

    def heartbeat(self, link: WorkerLink, heartbeat: Heartbeat) -> None:
        now = self._monotonic()
        self.answering(link.worker.id)
        lost = []
        for held in heartbeat.held:
            if not self._is_current(link) or not self._renew(link, held, now):
                lost.append(LeaseHeld(job_id=held.job_id, epoch=held.epoch))
        link.send(HeartbeatAck(seq=heartbeat.seq, lost=tuple(lost)))
        if self._is_current(link):
            self._confirm(link.worker.id, {held.job_id for held in heartbeat.held if held not in lost})

    def job_message(self, link: WorkerLink, job_id: JobId, epoch: int, message: JobMessage, size: int) -> None:
        work = self._valid(link, job_id, epoch)
        if work is None:
            link.consumed(job_id, epoch, size)
            if isinstance(message, Finished | Failed):
                self.unclaimed(link, job_id, epoch, message)
        else:
            work.message(link, message, size)

    def job_stream_ended(self, link: WorkerLink, job_id: JobId, epoch: int) -> None:
        work = self._valid(link, job_id, epoch)
        if work is not None:
            self._scheduler.release(job_id)
            work.dropped(link.worker.id, "the worker dropped it")
            self._place_soon()

    def disconnected(self, link: WorkerLink, reason: str, *, for_good: bool = False) -> None:
        if self._is_current(link):
            log.info("worker %s (%s) disconnected: %s", link.worker.name, link.worker.id, reason)
            self._gone(link.worker.id, reason, for_good=for_good)

    def suspected(self, link: WorkerLink, silent: bool) -> None:
        if not self._is_current(link):
            return
        self._scheduler.set_silent(link.worker.id, silent)
        if silent:
            log.info("worker %s is silent: its answers go on elsewhere", link.worker.name)
            for work in reversed(self._moving(link.worker.id)):
                self._take_away(work, link, "the worker did not answer any more")
                work.lost(link.worker.id, "it did not answer any more")
        self._place_soon()

    # inside

    def _may_come_back(self) -> bool:
        """A worker that may work here was not here yet since the start, and has time to come."""
        in_time = self._return_by is not None and self._monotonic() < self._return_by
        return in_time and self._scheduler.awaits_any(self.enrolled())

    def _moving(self, worker_id: WorkerId) -> list[Work]:
        """What a worker holds and somebody waits for."""
        held = (self._works.get(job_id) for job_id in self._scheduler.held_by(worker_id))
        return [work for work in held if work is not None and work.moves]

    def _hand_over(self, link: WorkerLink, why: str) -> None:
        for work in self._moving(link.worker.id):
            if self._scheduler.outlook(work.need).worker_id is not None:
                self._take_away(work, link, why)
                work.yielded(link.worker.id, why)
                self._place()

    def _take_away(self, work: Work, link: WorkerLink, why: str) -> None:
        """End a lease that its worker still holds, and tell it, late as it may hear; `lost` or `yielded` follows."""
        self._scheduler.release(work.need.job_id)
        link.send(Cancel(job_id=work.need.job_id, epoch=work.epoch, reason=why))

    def _is_current(self, link: WorkerLink) -> bool:
        connection = self._connections.get(link.worker.id)
        return connection is not None and connection.link is link

    def _valid(self, link: WorkerLink, job_id: JobId, epoch: int) -> Work | None:
        work = self._works.get(job_id)
        if work is None or work.epoch != epoch or not self.holds(job_id, link.worker.id):
            return None
        return work

    def _renew(self, link: WorkerLink, held: LeaseHeld, now: float) -> bool:
        """Whether the lease is the worker's; then it runs anew."""
        if self._valid(link, held.job_id, held.epoch) is not None:
            return self._scheduler.renew(held.job_id, link.worker.id, now)
        work = self._works.get(held.job_id)
        return work is not None and work.settles(link.worker.id, held.epoch)

    def _confirm(self, worker_id: WorkerId, named: set[JobId]) -> None:
        """After a worker's first heartbeat: what it does not name of its older leases is gone."""
        for job_id in self._unconfirmed.pop(worker_id, frozenset()) - named:
            if self.holds(job_id, worker_id) and job_id in self._works:
                self._scheduler.release(job_id)
                self._works[job_id].lost(worker_id, "it came back without the job")
                self._place_soon()

    def _gone(self, worker_id: WorkerId, reason: str, *, for_good: bool) -> None:
        self._connections.pop(worker_id, None)
        self._unconfirmed.pop(worker_id, None)
        for lost in self._scheduler.left(worker_id, reason, for_good=for_good):
            if for_good and lost.job_id in self._works:
                self._works[lost.job_id].yielded(worker_id, reason)
            else:
                self._lost(lost)
        self._place_soon()

    def _lost(self, lost: Lost) -> None:
        work = self._works.get(lost.job_id)
        if work is not None:
            work.lost(lost.worker_id, lost.why)
        else:
            self._scheduler.remove(lost.job_id)
        self._place_soon()

    def _place_soon(self) -> None:
        if self._placing is None:
            self._placing = asyncio.get_running_loop().call_soon(self._place)

    def _place(self) -> None:
        if self._placing is not None:
            self._placing.cancel()
            self._placing = None
        for instruction in self._scheduler.place(self._monotonic()):
            work = self._works.get(instruction.job_id)
            if work is None:
                continue
            if isinstance(instruction, Grant):
                work.granted(self._connections[instruction.worker_id].link)
            elif not self._may_come_back():
                work.hopeless(instruction.reasons)

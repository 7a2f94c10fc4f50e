"""Who waits, who runs where, and what to do next: the coordinator's one mutable picture of the grid.

Events in, instructions out; no clock, socket or task. The only writer is the event loop through `dispatcher.py`.

1. A job is either waiting or leased to one worker, never both, and leaves only by `remove`.
2. A lease that runs out, and an interactive one whose worker leaves, comes back as `Lost`; whether the job waits again
   is the caller's choice (`retry`), because only it knows what the client has seen. The lease of a durable job outlives
   the connection: the worker may come back with it until it runs out.
3. Jobs are placed in the order of `queue_order.py`, on the workers that `fleet.py` finds best. One that comes back has
   its old place, and an interactive one goes before all others.
4. Nothing waits that could run: a job that does not fit holds up nobody but those that ask for the same. One that has
   not fitted for `STARVED_S` gets a worker that is kept free of its competitors until it does.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

import msgspec

from coordinator.dispatch.fleet import Fleet
from coordinator.dispatch.pace import Pace
from coordinator.dispatch.placement import Decision, Kind, Need, Oversized, kind_of, wants_gpu
from coordinator.dispatch.queue_order import WaitingJobs
from gogrid.ids import JobId, Sha256, WorkerId
from gogrid.protocol.worker_report import WorkerReport

STARVED_S = 60.0
"""A durable job that fits nowhere for so long, while smaller ones pass it, gets a worker kept free."""
STARVED_INTERACTIVE_S = 20.0


class Lease(msgspec.Struct, frozen=True):
    need: Need
    worker_id: WorkerId
    until: float
    """Monotonic seconds; renewed by heartbeats."""
    since: float


class Grant(msgspec.Struct, frozen=True):
    """Instruction: give this job to this worker."""

    job_id: JobId
    worker_id: WorkerId


@dataclass(frozen=True, slots=True)
class Hopeless:
    """Instruction: no connected worker could take this job even when idle, nor when it no longer stands back."""

    job_id: JobId
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """Instruction: this lease has ended without a result."""

    job_id: JobId
    worker_id: WorkerId
    why: str


class _Stuck:
    """The kinds that were seen not to fit in this round, and those that ask for more than one of them."""

    def __init__(self, kept: frozenset[Kind]) -> None:
        self._kinds: set[Kind] = set()
        self._scripts: list[tuple[float, int]] = []
        self._kept = kept
        """A worker may be free for these alone: they must be tried themselves."""

    def __contains__(self, kind: object) -> bool:
        if kind in self._kinds:
            return True
        if not isinstance(kind, tuple) or kind[0] is not None or kind in self._kept:
            return False
        _, _, memory, cores = kind
        return any(cores >= less and memory >= small for less, small in self._scripts)

    def add(self, kind: Kind) -> None:
        self._kinds.add(kind)
        model, _, memory, cores = kind
        if model is None and not wants_gpu(kind):  # that there is no GPU for one says nothing of others
            self._scripts = [(c, m) for c, m in self._scripts if not (c >= cores and m >= memory)]
            self._scripts.append((cores, memory))


class Scheduler:
    """See the module's contract."""

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._fleet = Fleet()
        self._waiting = WaitingJobs()
        self._leases: dict[JobId, Lease] = {}
        self._away: dict[WorkerId, dict[JobId, Need]] = {}
        """Durable jobs of workers that are not connected; their leases run on."""
        self._pace = Pace()
        self._over: list[Lease] = []
        """Leases that have ended since the time was last told: how long they took is not known yet."""
        self._stuck_since: dict[Kind, float] = {}
        self._now = 0.0
        """The last time it was told."""

    def __repr__(self) -> str:
        return f"<Scheduler workers={len(self._fleet)} waiting={len(self._waiting)} leased={len(self._leases)}>"

    # jobs

    def add(self, need: Need) -> None:
        """A new job waits behind its submitter's others."""
        self._add(need, resumed=False)

    def retry(self, need: Need, avoid: WorkerId | None) -> None:
        """A lost job waits again where it waited before, and if possible for another worker."""
        self._add(replace(need, avoid=need.avoid | {avoid}) if avoid is not None else need, resumed=True)

    def release(self, job_id: JobId) -> Lease | None:
        """The job's lease is over, but it may come back by `retry`; returns the lease if it had one."""
        self._waiting.remove(job_id)
        lease = self._leases.pop(job_id, None)
        if lease is not None:
            self._fleet.give_back(lease.worker_id, job_id)
            self._no_longer_away(lease.worker_id, job_id)
            self._over.append(lease)
        return lease

    def remove(self, job_id: JobId) -> Lease | None:
        """The job is over or unwanted; returns its lease if it had one."""
        lease = self.release(job_id)
        self._waiting.forget(job_id)
        return lease

    def lease(self, job_id: JobId) -> Lease | None:
        return self._leases.get(job_id)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def leased(self) -> int:
        return len(self._leases)

    def position(self, job_id: JobId) -> int | None:
        """How many jobs are expected to be placed before this one; None if it does not wait."""
        return self._waiting.position(job_id)

    def starts_in(self, job_id: JobId) -> float | None:
        """Seconds until it is placed, judged by how fast jobs for the same have ended; None: nothing to judge by, or
        no connected worker will take it as things are."""
        position, need = self._waiting.position(job_id), self._waiting.need(job_id)
        if position is None or need is None or self._fleet.is_hopeless(need):
            return None
        rate = self._pace.rate(need.model, self._now)
        if rate is None:
            return None
        return max((position + 1) / rate, need.not_before - self._now)

    def serves_in(self, model: Sha256, count: int) -> float | None:
        """Seconds in which so many jobs for a model end, judged by how fast they have ended."""
        rate = self._pace.rate(model, self._now)
        return count / rate if rate else None

    def reasons(self, job_id: JobId) -> tuple[str, ...]:
        """Why the job still waits, one reason for each worker; empty if it does not."""
        need = self._waiting.need(job_id)
        if need is None:
            return ()
        if need.not_before > self._now:
            why = f"{need.refusal}; it" if need.refusal else "it was given back and"
            return (f"{why} is tried again in {need.not_before - self._now:.0f} s",)
        return self._fleet.reasons(need)

    def oversized(self, need: Need, enrolled: Callable[[], Collection[WorkerId]]) -> Oversized | None:
        """Why no worker lends enough for this; None: one does, or it is not known of all that are `enrolled`."""
        return self._fleet.oversized(need, enrolled)

    def awaits_any(self, enrolled: Collection[WorkerId]) -> bool:
        """One of these was never here since the start."""
        return self._fleet.awaits_any(enrolled)

    def held_by(self, worker_id: WorkerId) -> tuple[JobId, ...]:
        return self._fleet.held_by(worker_id) or tuple(self._away.get(worker_id, ()))

    def adopt(self, need: Need, worker_id: WorkerId, now: float) -> None:
        """A durable job was leased to this worker before this coordinator started: it has a whole lease to return."""
        self._now = now
        self._leases[need.job_id] = Lease(need, worker_id, now + self._lease_s, now)
        self._away.setdefault(worker_id, {})[need.job_id] = need

    # workers

    def joined(self, worker_id: WorkerId, name: str, draining: bool, quarantined: str = "") -> None:
        """A worker connected; it takes nothing before its first report, nor while `quarantined` says why not."""
        self._fleet.joined(worker_id, name, draining, quarantined)
        for need in self._away.pop(worker_id, {}).values():
            self._fleet.take(worker_id, need)

    def reported(self, worker_id: WorkerId, report: WorkerReport) -> None:
        self._fleet.reported(worker_id, report)

    def set_silent(self, worker_id: WorkerId, silent: bool) -> None:
        self._fleet.set_silent(worker_id, silent)

    def set_draining(self, worker_id: WorkerId, draining: bool) -> None:
        self._fleet.set_draining(worker_id, draining)

    def set_quarantined(self, worker_id: WorkerId, why: str) -> None:
        """`why` empty: the admin has let it out."""
        self._fleet.set_quarantined(worker_id, why)

    def left(self, worker_id: WorkerId, why: str, *, for_good: bool = False) -> list[Lost]:
        """A worker's connection ended, and with it the leases of what somebody waits for at that moment.

        The others run on: the worker may come back with them. With `for_good` they end, too.
        """
        lost = []
        for job_id in self._fleet.held_by(worker_id):
            need = self._leases[job_id].need
            if need.interactive or for_good:
                self.release(job_id)
                lost.append(Lost(job_id, worker_id, why))
        away = self._fleet.left(worker_id)
        if away:
            self._away[worker_id] = away
        return lost

    def report(self, worker_id: WorkerId) -> WorkerReport | None:
        return self._fleet.report(worker_id)

    def reports(self) -> Iterable[WorkerReport]:
        """Of the connected workers."""
        return self._fleet.reports()

    def is_silent(self, worker_id: WorkerId) -> bool:
        return self._fleet.is_silent(worker_id)

    # time

    def renew(self, job_id: JobId, worker_id: WorkerId, now: float) -> bool:
        """A heartbeat names this lease; False if it is not the worker's."""
        self._tell(now)
        lease = self._leases.get(job_id)
        if lease is None or lease.worker_id != worker_id:
            return False
        self._leases[job_id] = msgspec.structs.replace(lease, until=now + self._lease_s)
        return True

    def expire(self, now: float) -> list[Lost]:
        """End the leases that ran out."""
        self._tell(now)
        over = [lease for lease in self._leases.values() if lease.until <= now]
        for lease in over:
            self.release(lease.need.job_id)
        return [Lost(lease.need.job_id, lease.worker_id, "its lease ran out") for lease in over]

    def next_due(self) -> float | None:
        """When a job may be placed that may not be placed yet; None: there is none."""
        return self._waiting.next_due()

    def place(self, now: float) -> list[Grant | Hopeless]:
        """Lease what can be leased now."""
        self._tell(now)
        self._waiting.wake(now)
        instructions: list[Grant | Hopeless] = []
        stuck = _Stuck(self._fleet.kept)
        tried: dict[Kind, Need] = {}
        for need in self._waiting.offers(now, stuck):
            worker_id = self._fleet.best(need)
            if worker_id is not None:
                instructions.append(self._grant(need, worker_id, now))
                continue
            stuck.add(kind_of(need))
            tried[kind_of(need)] = need
            if self._fleet.is_hopeless(need) and not self._fleet.may_return(need):
                instructions.append(Hopeless(need.job_id, self._fleet.reasons(need)))
        self._help_the_starved(tried, now)
        return instructions

    def outlook(self, need: Need) -> Decision:
        """What planning would say of a job alone, without leasing anything."""
        return self._fleet.decision(need)

    def check(self) -> None:
        """Raise AssertionError if an invariant is broken; for tests."""
        away = {job_id: worker_id for worker_id, jobs in self._away.items() for job_id in jobs}
        if self._fleet.holders() | away != {job_id: lease.worker_id for job_id, lease in self._leases.items()}:
            raise AssertionError(f"leases and what workers hold disagree: {self!r}")
        if any(job_id in self._leases for job_id in self._waiting):
            raise AssertionError(f"a job both waits and is leased: {self!r}")
        self._waiting.check()

    # inside

    def _tell(self, now: float) -> None:
        self._now = now
        over, self._over = self._over, []
        for lease in over:
            self._waiting.gave_back(lease.need, now - lease.since)
            self._pace.ended(lease.need.model, now)

    def _add(self, need: Need, *, resumed: bool) -> None:
        if need.job_id in self._leases or need.job_id in self._waiting:
            raise ValueError(f"{need.job_id} is already scheduled")
        self._waiting.add(need, self._now, resumed=resumed)

    def _no_longer_away(self, worker_id: WorkerId, job_id: JobId) -> None:
        away = self._away.get(worker_id)
        if away is not None:
            away.pop(job_id, None)
            if not away:
                del self._away[worker_id]

    def _grant(self, need: Need, worker_id: WorkerId, now: float) -> Grant:
        self._waiting.take(need.job_id, now)
        self._leases[need.job_id] = Lease(need, worker_id, now + self._lease_s, now)
        self._fleet.take(worker_id, need)
        return Grant(need.job_id, worker_id)

    def _help_the_starved(self, tried: dict[Kind, Need], now: float) -> None:
        """Keep a worker free for what others, that need less, would pass for ever."""
        for kind in self._fleet.kept - tried.keys():
            self._fleet.keep_no_more(kind)
        self._stuck_since = {kind: self._stuck_since.get(kind, now) for kind in tried}
        for kind, since in self._stuck_since.items():
            need = tried[kind]
            if now - since >= (STARVED_INTERACTIVE_S if need.interactive else STARVED_S):
                self._fleet.keep_for(need)

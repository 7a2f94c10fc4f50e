"""Who waits, who runs where, and what to do next: the coordinator's one mutable picture of the fleet.

Events in, instructions out; no clock, socket or task. The only writer is the event loop through `dispatch.py`.

1. A job is either waiting or leased to one connected worker, never both, and leaves only by `remove`.
2. A worker that leaves, or whose lease runs out, gives its jobs back as `Lost`; whether they wait again is the
   caller's choice (`retry`), because only it knows what the client has seen.
3. Jobs wait in order of arrival; one that comes back goes to the front.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

from coordinator.placement import Candidate, Decision, Held, Need, plan, with_one_more
from gogrid.ids import JobId, Sha256, WorkerId
from gogrid.protocol.messages import Device, DeviceKind, Readiness, WorkerReport

LOOK_AHEAD = 4096
"""How many waiting jobs one round of planning looks at."""


@dataclass(frozen=True, slots=True)
class Lease:
    need: Need
    worker_id: WorkerId
    until: float
    """Monotonic seconds; renewed by heartbeats."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Instruction: give this job to this worker."""

    job_id: JobId
    worker_id: WorkerId


@dataclass(frozen=True, slots=True)
class Hopeless:
    """Instruction: no connected worker could take this job even when idle."""

    job_id: JobId
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """Instruction: this lease has ended without a result."""

    job_id: JobId
    worker_id: WorkerId
    why: str


@dataclass(slots=True)
class _Member:
    name: str
    draining: bool
    silent: bool = False
    report: WorkerReport | None = None
    candidate: Candidate | None = None
    """Cached; None when something about the member has changed."""


class Scheduler:
    """See the module's contract."""

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._members: dict[WorkerId, _Member] = {}
        self._held: dict[WorkerId, dict[JobId, Need]] = {}
        self._waiting: OrderedDict[JobId, Need] = OrderedDict()
        self._leases: dict[JobId, Lease] = {}
        self._reasons: dict[JobId, tuple[str, ...]] = {}

    def __repr__(self) -> str:
        return f"<Scheduler workers={len(self._members)} waiting={len(self._waiting)} leased={len(self._leases)}>"

    # jobs

    def add(self, need: Need) -> None:
        """A new job waits behind the others."""
        if need.job_id in self._leases or need.job_id in self._waiting:
            raise ValueError(f"{need.job_id} is already scheduled")
        self._waiting[need.job_id] = need

    def retry(self, need: Need, avoid: WorkerId | None) -> None:
        """A lost job waits again, before the others, and if possible for another worker."""
        self.add(replace(need, avoid=need.avoid | {avoid}) if avoid is not None else need)
        self._waiting.move_to_end(need.job_id, last=False)

    def remove(self, job_id: JobId) -> Lease | None:
        """The job is over or unwanted; returns its lease if it had one."""
        self._waiting.pop(job_id, None)
        self._reasons.pop(job_id, None)
        lease = self._leases.pop(job_id, None)
        if lease is not None:
            self._held.get(lease.worker_id, {}).pop(job_id, None)
            self._changed(lease.worker_id)
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
        """How many jobs wait before this one; None if it does not wait."""
        if job_id not in self._waiting:
            return None
        return next(index for index, waiting in enumerate(self._waiting) if waiting == job_id)

    def reasons(self, job_id: JobId) -> tuple[str, ...]:
        """Why the job still waits, one reason for each worker; empty before it was first planned."""
        return self._reasons.get(job_id, ())

    def held_by(self, worker_id: WorkerId) -> tuple[JobId, ...]:
        return tuple(self._held.get(worker_id, ()))

    # workers

    def joined(self, worker_id: WorkerId, name: str, draining: bool) -> None:
        """A worker connected; it takes nothing before its first report."""
        self._members[worker_id] = _Member(name, draining)
        self._held[worker_id] = {}

    def reported(self, worker_id: WorkerId, report: WorkerReport) -> None:
        if worker_id in self._members:
            self._members[worker_id].report = report
            self._changed(worker_id)

    def set_silent(self, worker_id: WorkerId, silent: bool) -> None:
        if worker_id in self._members:
            self._members[worker_id].silent = silent
            self._changed(worker_id)

    def set_draining(self, worker_id: WorkerId, draining: bool) -> None:
        if worker_id in self._members:
            self._members[worker_id].draining = draining
            self._changed(worker_id)

    def left(self, worker_id: WorkerId, why: str) -> list[Lost]:
        """A worker's connection ended; its leases end with it."""
        self._members.pop(worker_id, None)
        lost = [Lost(job_id, worker_id, why) for job_id in self._held.pop(worker_id, {})]
        for entry in lost:
            self._leases.pop(entry.job_id, None)
        return lost

    def report(self, worker_id: WorkerId) -> WorkerReport | None:
        member = self._members.get(worker_id)
        return member.report if member is not None else None

    def is_silent(self, worker_id: WorkerId) -> bool:
        return worker_id in self._members and self._members[worker_id].silent

    # time

    def renew(self, job_id: JobId, worker_id: WorkerId, now: float) -> bool:
        """A heartbeat names this lease; False if it is not the worker's."""
        lease = self._leases.get(job_id)
        if lease is None or lease.worker_id != worker_id:
            return False
        self._leases[job_id] = replace(lease, until=now + self._lease_s)
        return True

    def expire(self, now: float) -> list[Lost]:
        """End the leases that ran out."""
        over = [lease for lease in self._leases.values() if lease.until <= now]
        for lease in over:
            self.remove(lease.need.job_id)
        return [Lost(lease.need.job_id, lease.worker_id, "its lease ran out") for lease in over]

    def place(self, now: float) -> list[Grant | Hopeless]:
        """Lease what can be leased now."""
        if not self._waiting:
            return []
        candidates = [self._candidate(worker_id) for worker_id in self._members]
        instructions: list[Grant | Hopeless] = []
        for decision in plan(islice(self._waiting.values(), LOOK_AHEAD), candidates):
            if decision.worker_id is not None:
                instructions.append(self._grant(decision.job_id, decision.worker_id, now))
            else:
                self._reasons[decision.job_id] = decision.reasons
                if decision.hopeless:
                    instructions.append(Hopeless(decision.job_id, decision.reasons))
        return instructions

    def outlook(self, need: Need) -> Decision:
        """What planning would say of a job alone, without leasing anything."""
        return plan([need], [self._candidate(worker_id) for worker_id in self._members])[0]

    def check(self) -> None:
        """Raise AssertionError if an invariant is broken; for tests."""
        held = {job_id: worker_id for worker_id, jobs in self._held.items() for job_id in jobs}
        if held != {job_id: lease.worker_id for job_id, lease in self._leases.items()}:
            raise AssertionError(f"leases and what workers hold disagree: {self!r}")
        if self._waiting.keys() & self._leases.keys():
            raise AssertionError(f"a job both waits and is leased: {self!r}")
        if self._held.keys() != self._members.keys():
            raise AssertionError(f"a worker that left still holds jobs: {self!r}")

    def _grant(self, job_id: JobId, worker_id: WorkerId, now: float) -> Grant:
        need = self._waiting.pop(job_id)
        self._reasons.pop(job_id, None)
        self._leases[job_id] = Lease(need, worker_id, now + self._lease_s)
        self._held[worker_id][job_id] = need
        self._changed(worker_id)
        return Grant(job_id, worker_id)

    def _changed(self, worker_id: WorkerId) -> None:
        if worker_id in self._members:
            self._members[worker_id].candidate = None

    def _candidate(self, worker_id: WorkerId) -> Candidate:
        member = self._members[worker_id]
        if member.candidate is None:
            member.candidate = _candidate(worker_id, member, self._held[worker_id].values())
        return member.candidate


def _candidate(worker_id: WorkerId, member: _Member, needs: Iterable[Need]) -> Candidate:
    report = member.report
    device = _model_device(report.devices if report is not None else ())
    return Candidate(
        worker_id=worker_id,
        name=member.name,
        barred=_barred(member),
        known=report is not None,
        silent=member.silent,
        engines=frozenset(report.engines if report is not None else ()),
        python_jobs=report is not None and report.python_jobs,
        device=device.kind if device is not None else DeviceKind.CPU,
        cap_bytes=device.cap_bytes if device is not None else 0,
        ram_bytes=max((d.cap_bytes for d in report.devices if d.kind is DeviceKind.CPU), default=0) if report else 0,
        cores=report.cores if report is not None else 1,
        loaded={model.digest: model for model in report.loaded} if report is not None else {},
        cached=frozenset(report.cached if report is not None else ()),
        held=_held(needs),
    )


def _barred(member: _Member) -> str:
    if member.draining:
        return "the admin drains it"
    if member.report is not None and member.report.readiness is not Readiness.READY:
        return member.report.reason
    return ""


def _model_device(devices: tuple[Device, ...]) -> Device | None:
    return next((device for device in devices if device.usable), None)


def _held(needs: Iterable[Need]) -> dict[Sha256 | None, Held]:
    held: dict[Sha256 | None, Held] = {}
    for need in needs:
        held[need.model] = with_one_more(held.get(need.model, Held(0, 0)), need)
    return held

"""The connected workers, what each holds, and which is best for a kind of job: a core.

Promises: what it answers is what the rules of `placement.py` say of the workers as they are, but each rule is asked
only about the workers that have changed since it was last asked, so that placing costs microseconds on a fleet of any
size. A kind that has starved can have a worker kept free of its competitors until it fits.
"""

import heapq
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from coordinator.dispatch.placement import (
    NOTHING_HELD,
    Candidate,
    Cost,
    Decision,
    Held,
    Kind,
    Need,
    Oversized,
    cost,
    kind_of,
    may_return,
    never,
    not_now,
    oversized,
    wants_gpu,
    with_one_more,
)
from gogrid.ids import JobId, Sha256, WorkerId
from gogrid.protocol.worker_report import DeviceKind, Readiness, WorkerReport

_NO_REPORT = WorkerReport(
    software="",
    hostname="",
    platform="",
    readiness=Readiness.UNABLE,
    reason="",
    devices=(),
    engines=(),
    sandbox="",
    python_jobs=False,
)
"""What is known of a worker that has just connected."""
_KINDS = 512
"""For so many kinds of jobs what the rules said is kept."""
_CHANGES = 8192
FASTEST = 1e6
"""Tokens a second: no machine is faster, so one that says so is not believed."""


@dataclass(slots=True)
class _Member:
    name: str
    draining: bool
    quarantined: str
    silent: bool = False
    report: WorkerReport | None = None
    needs: dict[JobId, Need] = field(default_factory=dict)
    held: dict[Sha256 | None, Held] = field(default_factory=dict)
    version: int = 0
    candidate: Candidate | None = None
    """Cached; None when something about it has changed."""
    kept_for: Kind | None = None


@dataclass(slots=True)
class _Index:
    """What the rules say of every worker for one kind."""

    able: list[tuple[Cost, int, WorkerId]] = field(default_factory=list)
    """A heap; an entry of an older version of its worker is void."""
    possible: set[WorkerId] = field(default_factory=set)
    """Who could take it when idle."""
    standing_back: set[WorkerId] = field(default_factory=set)
    """Who could once it may work again, which may be at any moment."""
    seen: int = 0
    """How many changes are in it."""


class Fleet:
    """See the module's contract."""

    def __init__(self) -> None:
        self._members: dict[WorkerId, _Member] = {}
        self._away: dict[WorkerId, Candidate] = {}
        """Workers that left, as they were last."""
        self._indexes: dict[Kind, _Index] = {}
        self._changes: list[WorkerId] = []
        self._dropped = 0
        """Changes that are no longer listed."""
        self._kept: dict[Kind, WorkerId] = {}
        self._version = 0
        """Grows with every change of anything."""
        self._told: dict[Kind, tuple[int, tuple[str, ...]]] = {}
        """Reasons as they were at a version."""

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, worker_id: object) -> bool:
        return worker_id in self._members

    # workers

    def joined(self, worker_id: WorkerId, name: str, draining: bool, quarantined: str) -> None:
        self._members[worker_id] = _Member(name, draining, quarantined)
        self._away.pop(worker_id, None)
        self._changed(worker_id)

    def left(self, worker_id: WorkerId) -> dict[JobId, Need]:
        """The worker is gone; returns what it held."""
        member = self._members.pop(worker_id, None)
        if member is None:
            return {}
        if member.kept_for is not None:
            del self._kept[member.kept_for]
        if member.report is not None:
            self._away[worker_id] = self._candidate(worker_id, member)
        self._note(worker_id)
        return member.needs

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

    def set_quarantined(self, worker_id: WorkerId, why: str) -> None:
        """`why` empty: the admin has let it out."""
        if worker_id in self._members:
            self._members[worker_id].quarantined = why
            self._changed(worker_id)

    def report(self, worker_id: WorkerId) -> WorkerReport | None:
        member = self._members.get(worker_id)
        return member.report if member is not None else None

    def reports(self) -> Iterable[WorkerReport]:
        """Of the connected workers that have told anything."""
        return (member.report for member in self._members.values() if member.report is not None)

    def is_silent(self, worker_id: WorkerId) -> bool:
        return worker_id in self._members and self._members[worker_id].silent

    def held_by(self, worker_id: WorkerId) -> tuple[JobId, ...]:
        member = self._members.get(worker_id)
        return tuple(member.needs) if member is not None else ()

    def holders(self) -> dict[JobId, WorkerId]:
        """Who holds which job."""
        return {job_id: worker_id for worker_id, member in self._members.items() for job_id in member.needs}

    # jobs

    def take(self, worker_id: WorkerId, need: Need) -> None:
        """The worker holds this job from now on."""
        member = self._members[worker_id]
        member.needs[need.job_id] = need
        member.held[need.model] = with_one_more(member.held.get(need.model, NOTHING_HELD), need)
        if kind_of(need) in self._kept:
            self.keep_no_more(kind_of(need))
        self._note(worker_id)

    def give_back(self, worker_id: WorkerId, job_id: JobId) -> None:
        member = self._members.get(worker_id)
        if member is None or job_id not in member.needs:
            return
        gone = member.needs.pop(job_id)
        held = member.held[gone.model]
        if held.count == 1:
            del member.held[gone.model]
        elif gone.model is not None:
            member.held[gone.model] = Held(held.count - 1, held.memory_bytes)
        else:
            member.held[None] = _scripts(member.needs.values())
        self._note(worker_id)

    def best(self, need: Need) -> WorkerId | None:
        """Who should take the job now; None: nobody can."""
        index = self._index(need)
        able, aside, second = index.able, [], None
        found: WorkerId | None = None
        while able:
            entry = able[0]
            member = self._members.get(entry[2])
            if member is None or member.version != entry[1]:
                heapq.heappop(able)
                continue
            kept = member.kept_for
            if kept is not None and _compete(kept, need):
                aside.append(heapq.heappop(able))
            elif entry[2] in need.avoid:
                second = second or entry[2]
                aside.append(heapq.heappop(able))
            else:
                found = entry[2]
                break
        for entry in aside:
            heapq.heappush(able, entry)
        return found or second

    def is_hopeless(self, need: Need) -> bool:
        """No connected worker could take it even when idle, as things are."""
        return not self._index(need).possible

    def may_return(self, need: Need) -> bool:
        """A connected worker that could take it stands back for a while: for its owner, or behind a gate."""
        return bool(self._index(need).standing_back)

    def awaits_any(self, enrolled: Collection[WorkerId]) -> bool:
        """One of these was never here since the start, or went before it had told what it lends."""
        return not all(one in self._members or one in self._away for one in enrolled)

    def oversized(self, need: Need, enrolled: Callable[[], Collection[WorkerId]]) -> Oversized | None:
        """See `placement.oversized`. One that has not told yet, or is `enrolled` and was never here, may lend it."""
        if self._index(need).possible:
            return None
        known = enrolled()
        if self.awaits_any(known):
            return None
        here = [self._candidate(worker_id, member) for worker_id, member in self._members.items()]
        return oversized(need, (*here, *(self._away[one] for one in known if one in self._away)))

    def reasons(self, need: Need) -> tuple[str, ...]:
        """Why the workers that cannot take it now cannot: `name: reason`, in the order in which they joined."""
        version, told = self._told.get(kind_of(need), (-1, ()))
        if version == self._version:
            return told
        found = []
        for worker_id, member in self._members.items():
            candidate = self._candidate(worker_id, member)
            reason = never(need, candidate) or not_now(need, candidate, member.held)
            if not reason and member.kept_for is not None and _compete(member.kept_for, need):
                reason = "it is kept free for a job that has waited longer"
            if reason:
                found.append(f"{member.name}: {reason}")
        if len(self._told) >= _KINDS:
            self._told.clear()
        self._told[kind_of(need)] = (self._version, tuple(found))
        return tuple(found)

    def decision(self, need: Need) -> Decision:
        """What would become of this job alone."""
        best = self.best(need)
        hopeless = best is None and self.is_hopeless(need) and not self.may_return(need)
        return Decision(need.job_id, best, hopeless, self.reasons(need))

    # starved kinds

    def keep_for(self, need: Need) -> bool:
        """Keep a worker free of this kind's competitors until it fits; False if that would not help."""
        kind = kind_of(need)
        possible = self._index(need).possible
        if kind in self._kept:
            if self._kept[kind] in possible:
                return True
            self.keep_no_more(kind)
        choice: tuple[int, WorkerId] | None = None
        for worker_id in possible:
            member = self._members[worker_id]
            if member.report is None or member.silent or member.kept_for is not None:
                continue
            if need.model is not None and (need.model in member.held or _loads(member.report, need.model)):
                continue  # its slots are taken by its own kind
            rivals = sum(1 for other in member.needs.values() if _compete(kind, other))
            if choice is None or (rivals, worker_id) < choice:
                choice = (rivals, worker_id)
        if choice is None:
            return False
        self._version += 1
        self._kept[kind] = choice[1]
        self._members[choice[1]].kept_for = kind
        return True

    def keep_no_more(self, kind: Kind) -> None:
        self._version += 1
        worker_id = self._kept.pop(kind, None)
        if worker_id in self._members:
            self._members[worker_id].kept_for = None

    @property
    def kept(self) -> frozenset[Kind]:
        """The kinds for which a worker is kept free."""
        return frozenset(self._kept)

    # inside

    def _changed(self, worker_id: WorkerId) -> None:
        self._members[worker_id].candidate = None
        self._note(worker_id)

    def _note(self, worker_id: WorkerId) -> None:
        self._version += 1
        member = self._members.get(worker_id)
        if member is not None:
            member.version = self._version
        self._changes.append(worker_id)
        if len(self._changes) > _CHANGES:
            self._dropped += len(self._changes) // 2
            del self._changes[: len(self._changes) // 2]

    def _index(self, need: Need) -> _Index:
        kind = kind_of(need)
        index = self._indexes.pop(kind, None)
        end = self._dropped + len(self._changes)
        if index is None or index.seen < self._dropped:
            index = _Index()
            changed: Iterable[WorkerId] = self._members
        else:
            changed = set(self._changes[index.seen - self._dropped :])
        for worker_id in changed:
            self._judge(index, need, worker_id)
        index.seen = end
        if len(index.able) > 64 + 4 * len(self._members):
            index.able = [entry for entry in index.able if self._is_valid(entry)]
            heapq.heapify(index.able)
        self._indexes[kind] = index
        if len(self._indexes) > _KINDS:
            del self._indexes[next(iter(self._indexes))]
        return index

    def _judge(self, index: _Index, need: Need, worker_id: WorkerId) -> None:
        member = self._members.get(worker_id)
        index.standing_back.discard(worker_id)
        if member is None:
            index.possible.discard(worker_id)
            return
        candidate = self._candidate(worker_id, member)
        if never(need, candidate):
            index.possible.discard(worker_id)
            if may_return(need, candidate):
                index.standing_back.add(worker_id)
            return
        index.possible.add(worker_id)
        if not not_now(need, candidate, member.held):
            heapq.heappush(index.able, (cost(need, candidate, member.held), member.version, worker_id))

    def _is_valid(self, entry: tuple[Cost, int, WorkerId]) -> bool:
        member = self._members.get(entry[2])
        return member is not None and member.version == entry[1]

    def _candidate(self, worker_id: WorkerId, member: _Member) -> Candidate:
        if member.candidate is None:
            member.candidate = _candidate(worker_id, member)
        return member.candidate


def _compete(kept: Kind, need: Need) -> bool:
    """Whether this job would take what is kept for that kind: scripts take cores and RAM, models memory, or a GPU."""
    if wants_gpu(kept):
        return kept != kind_of(need)
    if kept[0] is None or need.model is None:
        return kept[0] is need.model and kept != kind_of(need)
    return kept[0] != need.model


def _scripts(needs: Iterable[Need]) -> Held:
    held = NOTHING_HELD
    for need in needs:
        if need.model is None:
            held = with_one_more(held, need)
    return held


def _loads(report: WorkerReport, model: Sha256) -> bool:
    return any(loaded.digest == model for loaded in report.loaded)


def _candidate(worker_id: WorkerId, member: _Member) -> Candidate:
    report = member.report if member.report is not None else _NO_REPORT
    device = next((device for device in report.devices if device.usable), None)
    return Candidate(
        worker_id=worker_id,
        name=member.name,
        barred=_barred(member),
        stands_back=_stands_back(member),
        known=member.report is not None,
        silent=member.silent,
        engines=frozenset(report.engines),
        python_jobs=report.python_jobs,
        device=device.kind if device is not None else DeviceKind.CPU,
        cap_bytes=device.cap_bytes if device is not None else 0,
        ram_bytes=max((each.cap_bytes for each in report.devices if each.kind is DeviceKind.CPU), default=0),
        cores=report.cores,
        loaded={model.digest: model for model in report.loaded},
        cached=frozenset(report.cached),
        refused={model.digest: model.reason for model in report.refused},
        gpu_scripts=report.gpu_scripts,
        tokens_per_s=_pace(report),
        shares_memory=device is not None and device.kind is not DeviceKind.CUDA,
        loading={model.digest: model.memory_bytes for model in report.loading},
    )


def _pace(report: WorkerReport) -> float:
    """Tokens a second as measured; 0 for what is no speed: a worker may say anything."""
    told = report.speed.tokens_per_s if report.speed is not None else 0.0
    return told if 0 < told < FASTEST else 0.0


def _barred(member: _Member) -> str:
    if member.quarantined:
        return f"quarantined: {member.quarantined}"
    if member.draining:
        return "the admin drains it"
    if member.report is not None and member.report.readiness is not Readiness.READY:
        return member.report.reason
    return ""


def _stands_back(member: _Member) -> bool:
    paused = member.report is not None and member.report.readiness is Readiness.PAUSED
    return paused and not member.quarantined and not member.draining

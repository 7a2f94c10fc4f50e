"""Who is next: the waiting jobs in the order in which they should be served.

A core: no clock, socket or task. Promises:

1. Interactive requests come before durable jobs, one that has lost its worker before all others; higher priorities
   before lower ones.
2. Nothing starves: what is passed over ages, by grants and by seconds, until it outranks what passed it.
3. Within one rank, submitters share what they wait for (a model, or the machines for scripts) by what they hold now,
   then by what they had: ten thousand waiting jobs of one key do not delay the single job of another.
4. A submitter's own jobs keep the order in which they arrived, whatever happens to them in between; a job that may not
   start yet is not considered, and loses no place by it.

Adding, taking and removing cost microseconds, with 100,000 jobs waiting as with ten (docs/benchmarks.md).
"""

import heapq
from collections.abc import Container, Iterator
from dataclasses import dataclass, field

import msgspec
from sortedcontainers import SortedDict, SortedList

from coordinator.dispatch.placement import Kind, Need, kind_of
from gogrid.ids import JobId, KeyId, Sha256

INTERACTIVE_RANK = 200
"""Above every priority of a durable job."""
RESUMED_RANK = 300
"""A client is in the middle of its answer."""
GRANTS_A_POINT = 16
"""Passed over so many times, a rank counts one point more."""
SECONDS_A_POINT = 30.0
"""Not served for so long, a rank counts one point more."""
DEBT = 600.0
"""What an owner had before counts for no more than this over what the others had, in slot-seconds."""
QUANTUM = 0.05
"""The shortest job counts for so many seconds."""
_LEAST_WEIGHT = 0.25
_FEW = 4
"""So many kinds are looked through before a flow is; with more it is not worth it."""

Resource = Sha256 | None
"""What submitters share: the slots of one model, or (None) the cores for scripts."""
_Standing = tuple[float, float, float]


@dataclass(slots=True)
class _Line:
    """One owner's jobs for one resource at one rank."""

    account: "_Account"
    order: "SortedList[int]" = field(default_factory=SortedList)
    """All arrivals."""
    lanes: "dict[Kind, SortedDict[int, Need]]" = field(default_factory=dict)
    """Jobs that ask for the same thing, by arrival: if the first cannot be placed, none of them can."""
    heads: "SortedDict[int, Kind]" = field(default_factory=SortedDict)
    """The first arrival of each lane."""

    def insert(self, seq: int, need: Need) -> bool:
        """True if it is the only one of its kind."""
        kind = kind_of(need)
        lane = self.lanes.get(kind)
        if lane is None:
            lane = self.lanes[kind] = SortedDict()
            self.heads[seq] = kind
        elif seq < (first := lane.keys()[0]):
            del self.heads[first]
            self.heads[seq] = kind
        lane[seq] = need
        self.order.add(seq)
        return len(lane) == 1

    def withdraw(self, seq: int, need: Need) -> bool:
        """True if it was the last of its kind."""
        kind = kind_of(need)
        lane = self.lanes[kind]
        self.order.remove(seq)
        del lane[seq]
        if self.heads.pop(seq, None) is not None and lane:
            self.heads[lane.keys()[0]] = kind
        if not lane:
            del self.lanes[kind]
        return not lane

    def head(self, stuck: Container[Kind]) -> tuple[int, Need] | None:
        """The oldest job that may be placed, with its arrival."""
        for seq, kind in self.heads.items():
            if kind not in stuck:
                return seq, self.lanes[kind][seq]
        return None


@dataclass(slots=True)
class _Rank:
    """The jobs for one resource that are equally urgent."""

    resource: Resource
    base: int
    since: float
    """When it was last served, or began to wait."""
    passed: int = 0
    """Grants of the same resource to other ranks since."""
    lines: dict[KeyId, _Line] = field(default_factory=dict)
    owners: list[tuple[_Standing, KeyId]] = field(default_factory=list)
    """A heap of those who wait; an entry that is not what `listed` says is void."""
    listed: dict[KeyId, _Standing] = field(default_factory=dict)
    """Where each stands in the heap: perhaps too low, never too high."""
    lengths: list[tuple[_Standing, int, KeyId]] | None = None
    """How many jobs of each owner wait; None when that has changed."""

    def stand(self, owner: KeyId, standing: _Standing) -> None:
        if owner in self.listed and self.listed[owner] <= standing:
            return
        self.listed[owner] = standing
        heapq.heappush(self.owners, (standing, owner))
        if len(self.owners) > 64 + 2 * len(self.listed):
            self.owners = [(standing, owner) for owner, standing in self.listed.items()]
            heapq.heapify(self.owners)

    def urgency(self, now: float) -> float:
        return self.base + self.passed / GRANTS_A_POINT + max(0.0, now - self.since) / SECONDS_A_POINT


@dataclass(slots=True)
class _Flow:
    """Everything that waits for one resource."""

    ranks: dict[int, _Rank] = field(default_factory=dict)
    kinds: dict[Kind, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Account:
    """What one owner has now and had before, of interactive or of durable work."""

    here: dict[Resource, float] = field(default_factory=dict)
    total: float = 0.0
    had: float = 0.0
    """Slot-seconds, from the moment on at which it last had nothing to do."""
    waits: dict[tuple[Resource, int], "_Rank"] = field(default_factory=dict)

    def standing(self, resource: Resource) -> _Standing:
        """Who stands lower is served first."""
        return (self.here.get(resource, 0.0), self.total, self.had)


class _Place(msgspec.Struct, frozen=True):
    need: Need
    seq: int
    base: int


class WaitingJobs:
    """See the module's contract. `now` is any clock that does not go back."""

    def __init__(self) -> None:
        self._places: dict[JobId, _Place] = {}
        self._flows: dict[Resource, _Flow] = {}
        self._accounts: dict[tuple[KeyId, bool], _Account] = {}
        self._later: list[tuple[float, int, JobId]] = []
        self._parked: dict[JobId, _Place] = {}
        self._arrivals: dict[JobId, int] = {}
        self._count = 0
        self._level = 0.0
        """What an owner that comes back is taken to have had."""

    def __len__(self) -> int:
        return len(self._places) + len(self._parked)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._places or job_id in self._parked

    def __iter__(self) -> Iterator[JobId]:
        yield from self._places
        yield from self._parked

    # changes

    def add(self, need: Need, now: float, *, resumed: bool = False) -> None:
        """A job waits; one that was here before and was not forgotten has its old place again."""
        seq = self._arrivals.get(need.job_id)
        if seq is None:
            self._count += 1
            seq = self._arrivals[need.job_id] = self._count
        place = _Place(need, seq, _base_rank(need, resumed=resumed))
        if need.not_before > now:
            self._parked[need.job_id] = place
            heapq.heappush(self._later, (need.not_before, seq, need.job_id))
        else:
            self._insert(place, now)

    def take(self, job_id: JobId, now: float) -> Need:
        """The job is placed: it waits no longer, and its owner holds what it needs."""
        place = self._places[job_id]
        need = place.need
        self._withdraw(place)
        account, weight = self._account(need), weight_of(need)
        self._level = max(self._level, account.had)
        account.here[need.model] = account.here.get(need.model, 0.0) + weight
        account.total += weight
        account.had += weight * QUANTUM
        for base, rank in self._flows[need.model].ranks.items() if need.model in self._flows else ():
            if base == place.base:
                rank.passed, rank.since = 0, now
            else:
                rank.passed += 1
        return need

    def gave_back(self, need: Need, seconds: float) -> None:
        """What `take` gave is free again after `seconds`."""
        account, weight = self._account(need), weight_of(need)
        left = account.here.get(need.model, 0.0) - weight
        if left > _LEAST_WEIGHT / 2:
            account.here[need.model] = left
        else:
            account.here.pop(need.model, None)
        account.total = sum(account.here.values())
        account.had = min(account.had + weight * max(0.0, seconds - QUANTUM), max(account.had, self._level + DEBT))
        for (resource, _), rank in account.waits.items():
            rank.stand(need.owner, account.standing(resource))

    def remove(self, job_id: JobId) -> None:
        """The job does not wait any more; its place is kept until `forget`."""
        if self._parked.pop(job_id, None) is None and job_id in self._places:
            self._withdraw(self._places[job_id])

    def forget(self, job_id: JobId) -> None:
        """The job is over: a job of that id would be a new one."""
        self.remove(job_id)
        self._arrivals.pop(job_id, None)

    # questions

    def wake(self, now: float) -> None:
        """Let those wait in line whose time has come."""
        while self._later and self._later[0][0] <= now:
            due, _, job_id = heapq.heappop(self._later)
            place = self._parked.get(job_id)
            if place is not None and place.need.not_before == due:
                del self._parked[job_id]
                self._insert(place, now)

    def next_due(self) -> float | None:
        """When `wake` has something to do."""
        while self._later and self._later[0][2] not in self._parked:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def offers(self, now: float, stuck: Container[Kind]) -> Iterator[Need]:
        """Jobs in the order in which they should be placed now.

        The caller places a job with `take` before it asks for the next one, or adds its kind to `stuck`: what asks for
        something that is stuck is not offered.
        """
        rounds = [_Round(flow) for flow in self._flows.values()]
        try:
            turns = [turn for each in rounds if (turn := each.turn(now, stuck)) is not None]
            heapq.heapify(turns)
            while turns:
                yield turns[0].need
                following = turns[0].round.turn(now, stuck)
                if following is None:
                    heapq.heappop(turns)
                else:
                    heapq.heapreplace(turns, following)
        finally:
            for each in rounds:
                each.end()

    def need(self, job_id: JobId) -> Need | None:
        """What a waiting job asks for."""
        place = self._places.get(job_id) or self._parked.get(job_id)
        return place.need if place is not None else None

    def position(self, job_id: JobId) -> int | None:
        """How many jobs are expected to be placed before this one on what it needs; None if it does not wait."""
        place = self._places.get(job_id) or self._parked.get(job_id)
        if place is None:
            return None
        flow = self._flows.get(place.need.model)
        if flow is None:
            return 0
        before = sum(
            len(line.order) for rank in flow.ranks.values() if rank.base > place.base for line in rank.lines.values()
        )
        rank = flow.ranks.get(place.base)
        if rank is None:
            return before
        if rank.lengths is None:
            lines = rank.lines.items()
            rank.lengths = [(line.account.standing(rank.resource), len(line.order), owner) for owner, line in lines]
        owner = place.need.owner
        own = rank.lines.get(owner)
        in_line = own.order.bisect_left(place.seq) if own is not None else 0
        mine = self._account(place.need).standing(rank.resource)
        return (
            before
            + in_line
            + sum(
                min(length, in_line + (standing < mine)) for standing, length, other in rank.lengths if other != owner
            )
        )

    def check(self) -> None:
        """Raise AssertionError if an invariant is broken; for tests."""
        listed = [
            (need.job_id, seq)
            for flow in self._flows.values()
            for rank in flow.ranks.values()
            for line in rank.lines.values()
            for lane in line.lanes.values()
            for seq, need in lane.items()
        ]
        if dict(listed) != {job_id: place.seq for job_id, place in self._places.items()}:
            raise AssertionError("the lanes and the places disagree")
        lines = [line for flow in self._flows.values() for rank in flow.ranks.values() for line in rank.lines.values()]
        if sorted(seq for line in lines for seq in line.order) != sorted(seq for _, seq in listed):
            raise AssertionError("the lanes and the lines disagree")

    # inside

    def _account(self, need: Need) -> _Account:
        key = (need.owner, need.interactive)
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account(had=self._level)
        return account

    def _insert(self, place: _Place, now: float) -> None:
        need = place.need
        self._places[need.job_id] = place
        flow = self._flows.setdefault(need.model, _Flow())
        rank = flow.ranks.get(place.base)
        if rank is None:
            rank = flow.ranks[place.base] = _Rank(need.model, place.base, now)
        line = rank.lines.get(need.owner)
        if line is None:
            account = self._account(need)
            account.had = max(account.had, self._level)
            account.waits[need.model, place.base] = rank
            line = rank.lines[need.owner] = _Line(account)
            rank.stand(need.owner, account.standing(need.model))
        rank.lengths = None
        if line.insert(place.seq, need):
            flow.kinds[kind_of(need)] = flow.kinds.get(kind_of(need), 0) + 1

    def _withdraw(self, place: _Place) -> None:
        need, kind = place.need, kind_of(place.need)
        del self._places[need.job_id]
        flow = self._flows[need.model]
        rank = flow.ranks[place.base]
        line = rank.lines[need.owner]
        rank.lengths = None
        if not line.withdraw(place.seq, need):
            return
        flow.kinds[kind] -= 1
        if not flow.kinds[kind]:
            del flow.kinds[kind]
        if not line.lanes:
            del rank.lines[need.owner]
            del line.account.waits[need.model, place.base]
        if not rank.lines:
            del flow.ranks[place.base]
        if not flow.ranks:
            del self._flows[need.model]


class _Round:
    """What is left of one flow in one round of planning."""

    def __init__(self, flow: _Flow) -> None:
        self._flow = flow
        self._aside: list[tuple[_Rank, _Standing, KeyId]] = []
        """Those who have nothing that may be placed in this round."""

    def turn(self, now: float, stuck: Container[Kind]) -> "_Turn | None":
        """Whose job comes next; None: nothing here can be placed."""
        if len(self._flow.kinds) <= _FEW and all(kind in stuck for kind in self._flow.kinds):
            return None
        for rank in sorted(self._flow.ranks.values(), key=lambda rank: -rank.urgency(now)):
            head = self._head(rank, stuck)
            if head is not None:
                seq, need = head
                _, total, had = rank.lines[need.owner].account.standing(rank.resource)
                return _Turn((-rank.urgency(now), total, had, seq), need, self)
        return None

    def end(self) -> None:
        for rank, standing, owner in self._aside:
            rank.stand(owner, standing)

    def _head(self, rank: _Rank, stuck: Container[Kind]) -> tuple[int, Need] | None:
        owners = rank.owners
        while owners:
            standing, owner = owners[0]
            line = rank.lines.get(owner)
            if rank.listed.get(owner) != standing:
                heapq.heappop(owners)
            elif line is None:
                heapq.heappop(owners)
                del rank.listed[owner]
            elif (stands := line.account.standing(rank.resource)) != standing:
                rank.listed[owner] = stands
                heapq.heapreplace(owners, (stands, owner))
            elif (head := line.head(stuck)) is not None:
                return head
            else:
                heapq.heappop(owners)
                del rank.listed[owner]
                self._aside.append((rank, standing, owner))
        return None


@dataclass(frozen=True, slots=True)
class _Turn:
    order: tuple[float, float, float, int]
    need: Need
    round: _Round

    def __lt__(self, other: "_Turn") -> bool:
        return self.order < other.order


def _base_rank(need: Need, *, resumed: bool) -> int:
    if not need.interactive:
        return need.priority
    return RESUMED_RANK if resumed else INTERACTIVE_RANK


def weight_of(need: Need) -> float:
    """What a job takes of its resource: a slot, or its cores."""
    return 1.0 if need.model is not None else max(need.cores, _LEAST_WEIGHT)

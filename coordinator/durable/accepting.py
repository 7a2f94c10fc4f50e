"""New jobs: placed in memory, stored with the leases that came of it, and only then told to their workers.

Promises: what is accepted is on disk; a caller that leaves undoes nothing; either all jobs of one call are accepted or
none. What comes within one turn of the event loop is placed and stored together. Two go by themselves: a job with an
idempotency key, because it may be refused for what it is and nobody else with it, and a large bulk, because nobody else
should wait for it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.durable.assigning import Assigning
from coordinator.durable.roll import Roll
from coordinator.durable.work import DurableWork
from coordinator.errors import CoordinatorError
from coordinator.records import JobRecord, NewJob
from coordinator.store.base import Store
from coordinator.tally import Tally

_AT_ONCE = 256
"""Jobs that are placed in one turn of the event loop."""
Accepted = list[tuple[JobRecord, bool]]
"""Each job as it is stored; False: it was there before."""


@dataclass(slots=True)
class _Group:
    jobs: list[NewJob] = field(default_factory=list)
    works: list[DurableWork] = field(default_factory=list)


class Accepting:
    def __init__(self, roll: Roll, dispatcher: Dispatcher, assigning: Assigning, store: Store, tally: Tally) -> None:
        self._roll, self._dispatcher, self._assigning = roll, dispatcher, assigning
        self._store, self._tally = store, tally
        self._open: tuple[_Group, asyncio.Task[Accepted]] | None = None
        """What others may join in this turn of the event loop."""
        self.under_way: set[asyncio.Task[Accepted]] = set()

    async def accept(self, jobs: Sequence[NewJob], works: Sequence[DurableWork]) -> Accepted:
        """Raises what the store raises; then none of the jobs is there."""
        for work in works:
            work.steps.hold()
            self._roll.enter(work)
        alone = len(jobs) > _AT_ONCE or any(job.idempotency_key is not None for job in jobs)
        group, task = self._group(alone=alone)
        begin = len(group.jobs)
        group.jobs += jobs
        group.works += works
        accepted = await asyncio.shield(task)
        return accepted[begin : begin + len(jobs)]

    def _group(self, *, alone: bool) -> "tuple[_Group, asyncio.Task[Accepted]]":
        if self._open is not None and not alone:
            return self._open
        group = _Group()
        task = asyncio.get_running_loop().create_task(self._store_all(group))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        if not alone:
            self._open = group, task
        return group, task

    async def _store_all(self, group: _Group) -> Accepted:
        if self._open is not None and self._open[0] is group:
            self._open = None  # a task begins in the next turn: these are all of this one
        works = group.works
        for some in _slices(works):
            self._dispatcher.submit(*some)
            if len(some) < len(works):
                await asyncio.sleep(0)  # others have their turn between the parts of a large bulk
        for work in works:
            work.choosing = False
        wanted = [(job, work.granted_to) for job, work in zip(group.jobs, works, strict=True)]
        try:
            stored = await self._store.submit_all(wanted)
        except CoordinatorError:
            for work in works:
                self._roll.withdraw(work, "it could not be stored")
            raise
        for work, (record, new) in zip(works, stored, strict=True):
            if new:
                self._tally.accepted += 1
                work.submitted = record
                self._stored(work)
            else:
                self._roll.withdraw(work, "it was submitted before")
        return stored

    def _stored(self, work: DurableWork) -> None:
        if work.granted_to is not None:
            work.claimed = 1
            self._assigning.assign(work, work.granted_to)
        work.steps.go()


def _slices(works: Sequence[DurableWork]) -> Iterator[Sequence[DurableWork]]:
    for begin in range(0, len(works), _AT_ONCE):
        yield works[begin : begin + _AT_ONCE]

"""Tells workers that the ends of their durable jobs are on disk, and looks at ends that come too late or again.

A worker keeps an end until it hears this, so every end is answered, once for each time that it is told. There is no
hurry: it goes along with the next assignment, or after `LATER_S`, for a packet of its own would cost as much as one.
"""

import asyncio
import logging

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.durable.steps import Steps
from coordinator.records import JobState, LeaseEnd
from coordinator.store.base import Store
from coordinator.tally import Tally
from gogrid.ids import WorkerId
from gogrid.protocol.messages import LeaseHeld, Settled

log = logging.getLogger(__name__)

LATER_S = 0.05


class Settling:
    def __init__(self, dispatcher: Dispatcher, store: Store, tally: Tally, running: "set[asyncio.Task[None]]") -> None:
        """`running` holds the look-ups under way."""
        self._dispatcher, self._store, self._tally, self._running = dispatcher, store, tally, running
        dispatcher.answering = self.send_along  # or the answer would call a lease lost of which the end is kept
        self._waiting: dict[WorkerId, list[LeaseHeld]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def settle(self, worker_id: WorkerId, lease: LeaseHeld) -> None:
        """Tell the worker before long."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LATER_S, self.send_all)
        self._waiting.setdefault(worker_id, []).append(lease)

    def send_along(self, worker_id: WorkerId) -> None:
        """Something else goes to this worker in this turn of the event loop."""
        leases = self._waiting.pop(worker_id, None)
        link = self._dispatcher.link_of(worker_id)
        if leases and link is not None:
            link.send(Settled(leases=tuple(leases)))

    def send_all(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for worker_id in list(self._waiting):
            self.send_along(worker_id)

    def stale(self, worker_id: WorkerId, lease: LeaseHeld) -> None:
        """An end was told for a lease that is not valid: look up what it is, count it, settle it."""

        async def look_up() -> None:
            if await self._is_durable(worker_id, lease):
                self.settle(worker_id, lease)

        Steps(self._running).add(look_up)

    async def _is_durable(self, worker_id: WorkerId, lease: LeaseHeld) -> bool:
        record = await self._store.job(lease.job_id)
        if record is None or record.task is None:
            return False
        if record.state is JobState.CANCELLED or (record.epoch, record.worker) == (lease.epoch, worker_id):
            return True
        for attempt in await self._store.attempts(lease.job_id):
            if attempt.epoch == lease.epoch and attempt.ended is not LeaseEnd.VANISHED:
                return True  # its worker has told it before
        log.info("the end of job %s epoch %d came too late from %s", lease.job_id, lease.epoch, worker_id)
        self._tally.fenced += 1
        return True

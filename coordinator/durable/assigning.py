"""Tells workers of leases that are on disk."""

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.durable.settling import Settling
from coordinator.durable.work import DurableWork
from gogrid.ids import WorkerId
from gogrid.protocol.messages import Assign


class Assigning:
    def __init__(self, dispatcher: Dispatcher, settling: Settling) -> None:
        self._dispatcher, self._settling = dispatcher, settling

    def assign(self, work: DurableWork, worker_id: WorkerId) -> None:
        """Tell the worker, if the lease is still its own and it is there to be told."""
        if not self._dispatcher.holds(work.job_id, worker_id):
            return  # lost meanwhile: that step comes next
        link = self._dispatcher.link_of(worker_id)
        if link is None:
            self._dispatcher.release(work)
            work.lost(worker_id, "the worker was gone before it was told")
            return
        work.leased(worker_id, work.claimed)
        link.send(Assign(job_id=work.job_id, epoch=work.claimed, task=work.task, durable=True, alone=work.alone))
        self._settling.send_along(worker_id)

"""The durable jobs that are not over: found by id, and counted against what their submitters may have."""

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.durable.quota import DurableLimits, Quota
from coordinator.durable.work import DurableWork
from coordinator.errors import KeyLimitError, QueueFullError
from gogrid.ids import JobId, KeyId


class Roll:
    def __init__(self, dispatcher: Dispatcher, limits: DurableLimits) -> None:
        self._dispatcher = dispatcher
        self._quota = Quota(limits)
        self._works: dict[JobId, DurableWork] = {}

    def refusal(self, owner: KeyId, jobs: int) -> KeyLimitError | QueueFullError | None:
        """Why this key may not submit so many more now; None: it may."""
        return self._quota.refusal(owner, jobs)

    def enter(self, work: DurableWork) -> None:
        """It is unfinished from now on, whatever the limits say."""
        self._works[work.job_id] = work
        self._quota.enter(work.need.owner)

    def find(self, job_id: JobId) -> DurableWork | None:
        return self._works.get(job_id)

    def withdraw(self, work: DurableWork, why: str) -> None:
        """Nobody wants it any more: stop it where it runs, and forget it."""
        self._dispatcher.withdraw(work.job_id, why)
        self.forget(work)

    def forget(self, work: DurableWork) -> None:
        """It is over."""
        work.end()
        if self._works.pop(work.job_id, None) is not None:
            self._quota.leave(work.need.owner)
        self._dispatcher.finished(work)

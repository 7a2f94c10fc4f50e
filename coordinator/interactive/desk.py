"""The desk for interactive requests: dispatched at once, recorded write-behind, moved from worker to worker.

Promises: no first token waits for a disk; nobody's key takes more than its share of open requests. What becomes of one
request, and that a lost worker is invisible to its client, is `interactive/request.py`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.dispatch.fitting import length_bytes, refusal
from coordinator.dispatch.placement import Need
from coordinator.errors import KeyLimitError, NoWorkerError, QueueFullError
from coordinator.interactive.half_said import HalfSaid
from coordinator.interactive.loading import Loading, Wait, WaitLimits, nearest
from coordinator.interactive.request import LONGEST_RETRY_AFTER_S, RETRY_AFTER_S, InteractiveWork, no_worker
from coordinator.records import JobKind, JobOutcome, KeyRecord, ModelRecord, NewJob
from coordinator.store.base import Store
from coordinator.tally import Tally
from coordinator.tickets import DEFAULT_WAIT, Ticket
from gogrid.ids import JobId, KeyId, Sha256, WorkerId, new_job_id
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask, ResumeMode

REFUSED_RETRY_S = 0.25
"""After a worker has refused, it gets this long to report why, before the request is placed again."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    queued: int
    """How many requests may wait for a worker at once."""
    per_key: int
    """How many requests of one API key may be open at once."""
    patience_s: float
    """How long one request waits for a worker to begin while nothing gets on."""
    longest_wait_s: float = 1800.0
    """How long it waits at most, while a model is loading."""


class InteractiveRequests:
    """Implements `coordinator.tickets.Requests`."""

    def __init__(
        self, dispatcher: Dispatcher, store: Store, limits: RequestLimits, tally: Tally, wall: Callable[[], float]
    ) -> None:
        self._dispatcher = dispatcher
        self._store = store
        self._limits = limits
        self._tally = tally
        self._wall = wall
        self._waiting = 0
        self._open: Counter[KeyId] = Counter()
        self._unfinished: dict[JobId, InteractiveWork] = {}

    def submit(
        self,
        key: KeyRecord,
        model: ModelRecord,
        task: ChatTask | CompletionTask | EmbeddingTask,
        mode: ResumeMode = ResumeMode.FAST,
        wait: Wait = DEFAULT_WAIT,
    ) -> Ticket:
        """See `coordinator.tickets.Requests.submit`."""
        if self._open[key.id] >= self._limits.per_key:
            raise KeyLimitError(
                f"This key has {self._open[key.id]} requests open, as many as one key may; try again later.",
                self.retry_after(model.digest, 1),
            )
        job = NewJob(new_job_id(), key.id, _kind(task), task, model.name, self._wall())
        length = length_bytes(model, task)
        need = Need(
            job.id,
            model.digest,
            model.engine,
            model.memory_bytes + length,
            owner=key.id,
            interactive=True,
            length_bytes=length,
        )
        if too_large := refusal(self._dispatcher, need):
            raise too_large
        outlook = self._dispatcher.outlook(need)
        if outlook.hopeless:
            raise NoWorkerError(no_worker(model.name, outlook.reasons), RETRY_AFTER_S)
        if outlook.worker_id is None and self._waiting >= self._limits.queued:
            raise QueueFullError(
                f"{self._waiting} requests wait already, as many as may; try again later.",
                self.retry_after(model.digest, self._waiting),
            )
        said = HalfSaid(task, mode, model.context_length)
        request = InteractiveWork(
            job, need, said, self, WaitLimits(self._limits.patience_s, self._limits.longest_wait_s), wait
        )
        self._tally.accepted += 1
        self._waiting += 1
        self._open[key.id] += 1
        self._unfinished[job.id] = request
        self._dispatcher.submit(request)
        return request

    def stop(self) -> None:
        """End what is unfinished with an error, because the coordinator is being stopped."""
        for request in tuple(self._unfinished.values()):
            request.stop()

    # what a request tells

    def placed(self) -> None:
        self._waiting -= 1

    def release(self, request: InteractiveWork) -> None:
        """The worker has ended its lease by itself."""
        self._dispatcher.release(request)

    def reasons(self, job_id: JobId) -> tuple[str, ...]:
        return self._dispatcher.reasons(job_id)

    def loading(self, model: Sha256) -> Loading | None:
        return nearest(model, self._dispatcher.reports())

    def retry_after(self, model: Sha256, ahead: int) -> int:
        """Seconds in which as many requests of this model as are `ahead` end, as measured; a guess before that."""
        served_s = self._dispatcher.serves_in(model, ahead)
        return RETRY_AFTER_S if served_s is None else min(LONGEST_RETRY_AFTER_S, max(1, ceil(served_s)))

    def again(self, request: InteractiveWork, avoid: WorkerId) -> None:
        self._waiting += 1
        self._dispatcher.retry(request, avoid)

    def refused(self, request: InteractiveWork, by: WorkerId) -> None:
        self._waiting += 1
        elsewhere = self._dispatcher.outlook(replace(request.need, avoid=request.need.avoid | {by})).worker_id
        if elsewhere in (None, by):
            self._dispatcher.retry_later(request, by, REFUSED_RETRY_S)
        else:
            self._dispatcher.retry(request, by)

    def ended(self, request: InteractiveWork, job: NewJob, worker: WorkerId | None, outcome: JobOutcome) -> None:
        self._leave(job, worker)
        self._dispatcher.finished(request)
        self._tally.ended(outcome)
        self._store.record_request(job, worker, outcome, self._wall())

    def withdrawn(self, job: NewJob, worker: WorkerId | None, outcome: JobOutcome) -> None:
        self._leave(job, worker)
        self._dispatcher.withdraw(job.id, outcome.error)
        self._tally.ended(outcome)
        self._store.record_request(job, worker, outcome, self._wall())

    def _leave(self, job: NewJob, worker: WorkerId | None) -> None:
        if worker is None:
            self._waiting -= 1
        del self._unfinished[job.id]
        self._open[job.owner] -= 1
        if not self._open[job.owner]:
            del self._open[job.owner]


def _kind(task: ChatTask | CompletionTask | EmbeddingTask) -> JobKind:
    match task:
        case ChatTask():
            return JobKind.CHAT
        case CompletionTask():
            return JobKind.COMPLETION
        case EmbeddingTask():
            return JobKind.EMBEDDING

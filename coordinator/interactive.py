"""Interactive requests: dispatched at once, recorded write-behind, run again while the client has seen nothing.

Promises: no first token waits for a disk; a request whose worker is lost before any of its answer was handed out runs
again on another worker, up to `ATTEMPTS` times; afterwards the client gets `worker_lost`. The worker may send only as
fast as the client reads.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgspec

from coordinator.dispatch import Dispatcher, Work
from coordinator.errors import CoordinatorError, JobFailedError, NoWorkerError, QueueFullError
from coordinator.links import WorkerLink
from coordinator.placement import Need
from coordinator.records import JobKind, JobOutcome, JobState, KeyRecord, ModelRecord, NewJob
from coordinator.store.base import Store
from coordinator.tally import Tally
from coordinator.tickets import Answer, Ticket
from gogrid.ids import JobId, KeyId, WorkerId, new_job_id
from gogrid.protocol.messages import Assign, FailCode, Failed, Finished, JobMessage, Log, Tokens
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask

ATTEMPTS = 3
"""How often a request may be lost by a worker."""
RETRYABLE = frozenset({FailCode.NO_ROOM, FailCode.CRASHED, FailCode.INTERNAL, FailCode.YIELDED, FailCode.CANCELLED})
"""Failures that say something of the worker, not of the request."""
REFUSED_RETRY_S = 0.25
"""After a worker has refused, it gets this long to report why, before the request is placed again."""
RETRY_AFTER_S = 5
"""What a refused caller is told to wait."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    queued: int
    """How many requests may wait for a worker at once."""
    per_key: int
    """How many requests of one API key may be open at once."""
    patience_s: float
    """How long one request waits for a worker."""


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

    def submit(self, key: KeyRecord, model: ModelRecord, task: ChatTask | CompletionTask | EmbeddingTask) -> Ticket:
        """See `coordinator.tickets.Requests.submit`."""
        if self._open[key.id] >= self._limits.per_key:
            raise QueueFullError(
                f"This key has {self._open[key.id]} requests open, as many as one key may; try again later.",
                RETRY_AFTER_S,
            )
        job = NewJob(new_job_id(), key.id, _kind(task), task, model.name, self._wall())
        need = Need(job.id, model.digest, model.engine, model.memory_bytes)
        outlook = self._dispatcher.outlook(need)
        if outlook.hopeless:
            raise NoWorkerError(_no_worker(model.name, outlook.reasons), RETRY_AFTER_S)
        if outlook.worker_id is None and self._waiting >= self._limits.queued:
            raise QueueFullError(
                f"{self._waiting} requests wait already, as many as may; try again later.", RETRY_AFTER_S
            )
        request = InteractiveWork(job, need, self)
        self._tally.accepted += 1
        self._waiting += 1
        self._open[key.id] += 1
        request.give_up_after(self._limits.patience_s)
        self._dispatcher.submit(request)
        return request

    # what a request tells

    def placed(self) -> None:
        self._waiting -= 1

    def release(self, request: "InteractiveWork") -> None:
        """The worker has ended its lease by itself."""
        self._dispatcher.release(request)

    def reasons(self, job_id: JobId) -> tuple[str, ...]:
        return self._dispatcher.reasons(job_id)

    def again(self, request: "InteractiveWork", avoid: WorkerId) -> None:
        self._waiting += 1
        self._dispatcher.retry(request, avoid)

    def again_later(self, request: "InteractiveWork", avoid: WorkerId) -> None:
        self._waiting += 1
        self._dispatcher.retry_later(request, avoid, REFUSED_RETRY_S)

    def ended(self, request: "InteractiveWork", job: NewJob, worker: WorkerId | None, outcome: JobOutcome) -> None:
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
        self._open[job.owner] -= 1
        if not self._open[job.owner]:
            del self._open[job.owner]


class InteractiveWork(Work):
    """One request; `coordinator.tickets.Ticket` to the HTTP layer, `Work` to dispatch."""

    def __init__(self, job: NewJob, need: Need, requests: InteractiveRequests) -> None:
        self.need = need
        self.task = job.task
        self._job = job
        self._requests = requests
        self._link: WorkerLink | None = None
        self._inbox: deque[tuple[Answer, WorkerLink, int, int]] = deque()
        self._error: CoordinatorError | None = None
        self._over = False
        self._shown = False
        self._losses = 0
        self._reader: asyncio.Future[None] | None = None
        self._patience: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<InteractiveWork {self._job.id} epoch={self.epoch} over={self._over} inbox={len(self._inbox)}>"

    def give_up_after(self, seconds: float) -> None:
        """End the request if no worker has taken it by then."""
        self._patience = asyncio.get_running_loop().call_later(seconds, self._lose_patience, seconds)

    # Ticket

    @property
    def job_id(self) -> JobId:
        return self._job.id

    @property
    def worker_id(self) -> WorkerId | None:
        return self._link.worker.id if self._link is not None else None

    async def answers(self) -> AsyncIterator[Answer]:
        while True:
            while self._inbox:
                answer, link, epoch, size = self._inbox.popleft()
                yield answer
                link.consumed(self._job.id, epoch, size)
                if isinstance(answer, Finished):
                    return
            if self._error is not None:
                raise self._error
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader

    def cancel(self, reason: str) -> None:
        if not self._over:
            self._close()
            outcome = JobOutcome(JobState.CANCELLED, error_code="cancelled", error=reason)
            self._requests.withdrawn(self._job, self.worker_id, outcome)
        for _, link, epoch, size in self._inbox:
            link.consumed(self._job.id, epoch, size)
        self._inbox.clear()

    # Work

    def granted(self, link: WorkerLink) -> None:
        self.epoch += 1
        self._link = link
        self._requests.placed()
        link.send(Assign(job_id=self._job.id, epoch=self.epoch, task=self.task))

    def message(self, link: WorkerLink, message: JobMessage, size: int) -> None:
        if isinstance(message, Failed):
            link.consumed(self._job.id, self.epoch, size)
            self._failed(link.worker.id, message)
        elif isinstance(message, Log):
            link.consumed(self._job.id, self.epoch, size)
        else:
            self._shown = self._shown or isinstance(message, Tokens)
            self._inbox.append((message, link, self.epoch, size))
            if isinstance(message, Finished):
                result = msgspec.msgpack.encode(message.result)
                self._end(JobOutcome(JobState.DONE, result=result))
            self._wake()

    def lost(self, worker_id: WorkerId, why: str) -> None:
        self._try_again(worker_id, f"The worker was lost ({why}) and the request could not go on.", "worker_lost")

    def refused(self, worker_id: WorkerId, why: str) -> None:
        self._link = None
        self._requests.again_later(self, worker_id)

    def hopeless(self, reasons: tuple[str, ...]) -> None:
        self._fail(NoWorkerError(_no_worker(self._job.label, reasons), RETRY_AFTER_S), "no_worker")

    # inside

    def _failed(self, worker_id: WorkerId, failed: Failed) -> None:
        if failed.code in RETRYABLE:
            self._requests.release(self)
            self._try_again(worker_id, failed.message, failed.code.value)
        else:
            error = JobFailedError(failed.message, failed.code.value, failed.param or None)
            self._fail(error, failed.code.value)

    def _try_again(self, worker_id: WorkerId, message: str, code: str) -> None:
        self._losses += 1
        if self._shown or self._losses >= ATTEMPTS:
            self._fail(JobFailedError(message, code), code)
            return
        for _, link, epoch, size in self._inbox:
            link.consumed(self._job.id, epoch, size)
        self._inbox.clear()
        self._link = None
        self._requests.again(self, worker_id)

    def _lose_patience(self, seconds: float) -> None:
        if self._link is None and not self._over:
            reasons = self._requests.reasons(self._job.id)
            message = f"No worker was free for {self._job.label} within {seconds:.0f} s ({'; '.join(reasons)})."
            self._fail(NoWorkerError(message, RETRY_AFTER_S), "no_worker")

    def _fail(self, error: CoordinatorError, code: str) -> None:
        if self._over:
            return
        self._error = error
        self._end(JobOutcome(JobState.FAILED, error_code=code, error=str(error)))
        self._wake()

    def _end(self, outcome: JobOutcome) -> None:
        self._close()
        self._requests.ended(self, self._job, self.worker_id, outcome)

    def _close(self) -> None:
        self._over = True
        if self._patience is not None:
            self._patience.cancel()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


def _kind(task: ChatTask | CompletionTask | EmbeddingTask) -> JobKind:
    match task:
        case ChatTask():
            return JobKind.CHAT
        case CompletionTask():
            return JobKind.COMPLETION
        case EmbeddingTask():
            return JobKind.EMBEDDING


def _no_worker(model: str, reasons: tuple[str, ...]) -> str:
    if not reasons:
        return f"No worker is connected, so {model} cannot answer now; start one with gogrid-worker."
    return f"No connected worker can serve {model}: {'; '.join(reasons)}."

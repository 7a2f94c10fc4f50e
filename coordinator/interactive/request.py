"""One interactive request while it is not over: a ticket to the HTTP layer, work to dispatch.

Promises: the client reads one answer, however many workers it took: what was handed out once is never handed out again,
and the next worker goes on behind it. The answer ends with an error only if no worker can go on within the client's
patience, or if the request itself seems to be what kills executors (`suspicion.py`). The worker may send only as fast
as the client reads.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from math import ceil
from typing import Protocol

from coordinator.dispatch.dispatcher import Work
from coordinator.dispatch.placement import Need
from coordinator.errors import CoordinatorError, JobFailedError, NotReadyError, NoWorkerError, StoppingError
from coordinator.interactive.half_said import HalfSaid
from coordinator.interactive.loading import NOT_BEGUN, Loading, Patience, Wait, WaitLimits, loading_of
from coordinator.interactive.suspicion import Suspicion
from coordinator.links import WorkerLink
from coordinator.records import JobOutcome, JobState, NewJob, encode_result
from coordinator.tickets import DEFAULT_WAIT, Again, Answer
from gogrid.ids import JobId, Sha256, WorkerId
from gogrid.protocol.job_messages import FailCode, Failed, Finished, JobMessage, Log, Progress, Started, Tokens, Vectors
from gogrid.protocol.messages import Assign
from gogrid.protocol.tasks import EmbeddingTask

log = logging.getLogger(__name__)

RETRYABLE = frozenset(
    {FailCode.NO_ROOM, FailCode.CRASHED, FailCode.INTERNAL, FailCode.YIELDED, FailCode.CANCELLED, FailCode.FENCED}
)
"""Failures that say something of the worker, not of the request."""
RETRY_AFTER_S = 5
"""What a refused caller is told to wait before anything was measured."""
LONGEST_RETRY_AFTER_S = 120
WORKER_LOST = "worker_lost"
_TOO_MUCH = Failed(code=FailCode.INTERNAL, message="The worker sent more than the model can have written.")


class Desk(Protocol):
    """What one request asks of the desk that took it; see `coordinator.interactive.desk.InteractiveRequests`."""

    def placed(self) -> None: ...

    def release(self, request: "InteractiveWork") -> None:
        """The worker has ended its lease by itself."""

    def again(self, request: "InteractiveWork", avoid: WorkerId) -> None:
        """Place it once more, before others."""

    def refused(self, request: "InteractiveWork", by: WorkerId) -> None:
        """Place it once more: elsewhere at once, or there once the worker had time to say what has changed."""

    def reasons(self, job_id: JobId) -> tuple[str, ...]: ...

    def loading(self, model: Sha256) -> Loading | None:
        """How far the model is where it is farthest; None: it is not on its way anywhere."""

    def retry_after(self, model: Sha256, ahead: int) -> int: ...

    def ended(self, request: "InteractiveWork", job: NewJob, worker: WorkerId | None, outcome: JobOutcome) -> None: ...

    def withdrawn(self, job: NewJob, worker: WorkerId | None, outcome: JobOutcome) -> None: ...


class InteractiveWork(Work):
    """Implements `coordinator.tickets.Ticket`."""

    moves = True

    def __init__(
        self, job: NewJob, need: Need, said: HalfSaid, desk: Desk, limits: WaitLimits, wait: Wait = DEFAULT_WAIT
    ) -> None:
        self.need = need
        self.task = said.task()
        self._job = job
        self._said = said
        self._desk = desk
        self._limits, self._wish = limits, wait
        self._link: WorkerLink | None = None
        self._inbox: deque[tuple[Answer, WorkerLink | None, int, int]] = deque()
        self._error: CoordinatorError | None = None
        self._over = False
        self._placed_before = False
        self._count_when_placed = 0
        self._suspicion = Suspicion()
        self._overdue = False
        self._no_room = ""
        self._reader: asyncio.Future[None] | None = None
        self._patience: Patience | None = None
        self._look: asyncio.TimerHandle | None = None
        self._loading: Loading | None = None
        self._wait()

    def __repr__(self) -> str:
        return f"<InteractiveWork {self._job.id} epoch={self.epoch} over={self._over} inbox={len(self._inbox)}>"

    # Ticket

    @property
    def job_id(self) -> JobId:
        return self._job.id

    @property
    def worker_id(self) -> WorkerId | None:
        return self._link.worker.id if self._link is not None else None

    @property
    def waiting_for(self) -> tuple[str, ...]:
        return self._desk.reasons(self._job.id)

    async def answers(self) -> AsyncIterator[Answer]:
        while True:
            while self._inbox:
                answer, link, epoch, size = self._inbox.popleft()
                yield answer
                if link is not None:
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
            self._desk.withdrawn(self._job, self.worker_id, outcome)
        self._forget_unread()

    def stop(self) -> None:
        """The coordinator is being stopped: end with an error that the client can read."""
        self._fail(StoppingError("The coordinator was stopped; ask again in a moment.", RETRY_AFTER_S), "stopping")

    # Work

    def granted(self, link: WorkerLink) -> None:
        self.epoch += 1
        self.task = self._said.task()
        self._link = link
        self._placed_before = True
        self._count_when_placed = self._said.count
        self._desk.placed()
        link.send(Assign(job_id=self._job.id, epoch=self.epoch, task=self.task, alone=self._suspicion.alone))

    def message(self, link: WorkerLink, message: JobMessage, size: int) -> None:
        if isinstance(message, Progress):
            self._loads(message)
        elif self._patience is not None and not _lacks_room(message):
            self._stop_waiting()
        if self._over:
            link.consumed(self._job.id, self.epoch, size)
            return
        match message:
            case Tokens():
                if self._said.take(message):
                    self._hand_out(message, link, size)
                else:
                    link.consumed(self._job.id, self.epoch, size)
                    self._failed(link.worker.id, _TOO_MUCH)
            case Finished():
                self._hand_out(message, link, size)
                self._end(JobOutcome(JobState.DONE, result=encode_result(message.result)))
            case Failed():
                link.consumed(self._job.id, self.epoch, size)
                self._failed(link.worker.id, message)
            case Vectors() | Started() | Progress():
                self._hand_out(message, link, size)
            case Log():
                link.consumed(self._job.id, self.epoch, size)

    def lost(self, worker_id: WorkerId, why: str) -> None:
        hopeless = self._suspicion.lost(progressed=self._progressed, blame=True)
        self._go_on_elsewhere(worker_id, f"The worker was lost: {why}.", WORKER_LOST, hopeless=hopeless)

    def yielded(self, worker_id: WorkerId, why: str) -> None:
        hopeless = self._suspicion.lost(progressed=self._progressed, blame=False)
        self._go_on_elsewhere(worker_id, f"The worker gave the request back: {why}.", WORKER_LOST, hopeless=hopeless)

    def refused(self, worker_id: WorkerId, why: str) -> None:
        if self._overdue:
            self._lose_patience()
            return
        self._link = None
        self._wait()
        self._desk.refused(self, worker_id)

    def hopeless(self, reasons: tuple[str, ...]) -> None:
        """A request that a worker had already waits for another one, as long as its patience lasts."""
        if not self._placed_before:
            self._fail(NoWorkerError(no_worker(self._job.label, reasons), RETRY_AFTER_S), "no_worker")

    # inside

    def _hand_out(self, message: Answer, link: WorkerLink, size: int) -> None:
        self._inbox.append((message, link, self.epoch, size))
        self._wake()

    def _failed(self, worker_id: WorkerId, failed: Failed) -> None:
        if failed.code in RETRYABLE:
            self._desk.release(self)
            if failed.code is FailCode.NO_ROOM:
                self._no_room = failed.message
                self.refused(worker_id, failed.message)
                return
            if failed.code is FailCode.CRASHED:
                hopeless = self._suspicion.crashed(progressed=self._progressed, in_company=failed.in_company)
            else:
                blame = failed.code is not FailCode.YIELDED
                hopeless = self._suspicion.lost(progressed=self._progressed, blame=blame)
            self._go_on_elsewhere(worker_id, failed.message, failed.code.value, hopeless=hopeless)
        else:
            error = JobFailedError(failed.message, failed.code.value, failed.param or None)
            self._fail(error, failed.code.value)

    @property
    def _progressed(self) -> bool:
        return self._said.count > self._count_when_placed

    def _go_on_elsewhere(self, worker_id: WorkerId, message: str, code: str, *, hopeless: bool) -> None:
        if hopeless or self._overdue or self._said.midway or not self._said.can_move:
            self._fail(JobFailedError(message, code), code)
            return
        log.info("request %s goes on elsewhere behind %d tokens: %s", self._job.id, self._said.count, message)
        if not self._said.begun:
            self._forget_unread()
        if isinstance(self.task, EmbeddingTask):
            self._inbox.append((Again(), None, 0, 0))
        self._link = None
        self._wait()
        self._desk.again(self, worker_id)

    def _wait(self) -> None:
        """From now on somebody's patience is used up, until a worker begins."""
        if self._patience is None:
            loop = asyncio.get_running_loop()
            wish = DEFAULT_WAIT if self._said.begun else self._wish
            self._patience = Patience(wish, self._limits, loop.time())
            self._look = loop.call_at(self._patience.until, self._look_at_patience)

    def _stop_waiting(self) -> None:
        if self._look is not None:
            self._look.cancel()
        self._patience = self._look = self._loading = None
        self._overdue = False

    def _loads(self, progress: Progress) -> None:
        """The worker says how far the model is."""
        self._loading = loading_of(progress)
        if self._patience is not None:
            self._patience.seen(self._loading, asyncio.get_running_loop().time())
            if self._overdue:
                self._look_at_patience()

    def _look_at_patience(self) -> None:
        if self._patience is None:
            return
        loop = asyncio.get_running_loop()
        if self._link is None:
            self._loading = self._desk.loading(self.need.model) if self.need.model is not None else None
            self._patience.seen(self._loading, loop.time())
        if loop.time() < self._patience.until:
            self._overdue = False
            self._look = loop.call_at(self._patience.until, self._look_at_patience)
        elif self._link is not None and self._loading is None:
            self._overdue = True
        else:
            self._lose_patience()

    def _lose_patience(self) -> None:
        model, waited_s = self._job.label, self._limits.patience_s
        why = "; ".join(self._desk.reasons(self._job.id)) or self._no_room or "all that could are busy or away"
        if self._said.begun:
            message = f"The worker was lost, and none could go on within {waited_s:.0f} s ({why})."
            self._fail(JobFailedError(message, WORKER_LOST), WORKER_LOST)
            return
        loading = self._loading or NOT_BEGUN
        if self._link is not None:
            message = f"{model} cannot answer yet: it is {loading.in_words} on {self._link.worker.name}."
        else:
            waited = "is free for {} now" if self._wish.seconds == 0 else "was free for {} in time"
            message = f"No worker {waited.format(model)} ({why})."
        self._fail(NotReadyError(message, self._retry_after(loading), loading), "no_worker")

    def _retry_after(self, loading: Loading) -> int:
        if loading.eta_s is not None:
            return min(LONGEST_RETRY_AFTER_S, max(1, ceil(loading.eta_s)))
        return self._desk.retry_after(self.need.model, 1) if self.need.model is not None else RETRY_AFTER_S

    def _fail(self, error: CoordinatorError, code: str) -> None:
        if self._over:
            return
        self._error = error
        outcome = JobOutcome(JobState.FAILED, error_code=code, error=str(error))
        if isinstance(error, NotReadyError | StoppingError):
            self._close()
            self._desk.withdrawn(self._job, self.worker_id, outcome)
            self._forget_unread()
        else:
            self._end(outcome)
        self._wake()

    def _end(self, outcome: JobOutcome) -> None:
        self._close()
        self._desk.ended(self, self._job, self.worker_id, outcome)

    def _close(self) -> None:
        self._over = True
        self._stop_waiting()

    def _forget_unread(self) -> None:
        for _, link, epoch, size in self._inbox:
            if link is not None:
                link.consumed(self._job.id, epoch, size)
        self._inbox.clear()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


def _lacks_room(message: JobMessage) -> bool:
    """A worker that has no room says nothing of the request: its client's patience goes on."""
    return isinstance(message, Failed) and message.code is FailCode.NO_ROOM


def no_worker(model: str, reasons: tuple[str, ...]) -> str:
    if not reasons:
        return f"No worker is connected, so {model} cannot answer now; start one with gogrid-worker."
    return f"No connected worker can serve {model} ({'; '.join(reasons)})."

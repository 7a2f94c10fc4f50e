"""The seam between the HTTP layer and dispatch: a submitted request and what comes back."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from coordinator.interactive.loading import Wait
from coordinator.records import JobRecord, KeyRecord, LogLine, ModelRecord
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.job_messages import Finished, Progress, Started, Tokens, Vectors
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask, ResumeMode, Task

DEFAULT_WAIT = Wait()


@dataclass(frozen=True, slots=True)
class Again:
    """Another worker begins an embedding anew: forget the vectors that came. Streamed text never begins anew."""


Answer = Progress | Started | Tokens | Vectors | Again | Finished
"""What an interactive request yields, ending with `Finished`."""


class Ticket(Protocol):
    """One accepted interactive request. Not reusable."""

    @property
    def job_id(self) -> JobId: ...

    @property
    def worker_id(self) -> WorkerId | None:
        """Who serves it, once placed."""

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """Why no worker has it yet, in words, one reason for each; empty: one has it, or nothing is known."""

    def answers(self) -> AsyncIterator[Answer]:
        """Yields what the worker sends, `Finished` last. Raises `JobFailedError`, `NoWorkerError`, `NotReadyError`."""

    def cancel(self, reason: str) -> None:
        """Free the engine slot now; safe at any time, also after the end."""


class Requests(Protocol):
    """Interactive requests: dispatched at once, recorded write-behind."""

    def submit(
        self,
        key: KeyRecord,
        model: ModelRecord,
        task: ChatTask | CompletionTask | EmbeddingTask,
        mode: ResumeMode = ResumeMode.FAST,
        wait: Wait = DEFAULT_WAIT,
    ) -> Ticket:
        """`mode`: how another worker goes on with a half-streamed answer. `wait`: for a model that cannot answer yet.

        Raises `RequestError` if no worker lends enough for it, `QueueFullError`, and `NoWorkerError` if no connected
        worker could ever serve it as things are. For one that only stands back (its owner's pause, a gate) it waits,
        and for one that may still come back after the coordinator's start.
        """


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that no worker has yet."""

    position: int
    """How many are before it."""
    reasons: tuple[str, ...]
    """Why it waits, in words, one for each worker."""
    starts_in_s: float | None = None
    """Until it is placed, judged by how fast jobs that need the same have ended; None: too few have."""


class Submission(msgspec.Struct, frozen=True):
    """A durable job as its submitter wants it."""

    label: str
    """The script's name, or the model's."""
    task: Task
    idempotency_key: str | None = None
    body_sha256: str = ""
    """Of the request: the same idempotency key with another one is refused."""
    priority: int = 0
    """-100..100, higher first."""


class Jobs(Protocol):
    """Durable jobs: acknowledged after the commit."""

    async def submit(self, key: KeyRecord, submission: Submission) -> tuple[JobRecord, bool]:
        """True: it is new. Raises `QueueFullError`, `ConflictError`, `UnknownModelError`."""

    async def submit_all(self, key: KeyRecord, submissions: Sequence[Submission]) -> list[tuple[JobRecord, bool]]:
        """All of them in one commit, or, if one is refused, none."""

    async def cancel(self, job_id: JobId) -> JobRecord:
        """Raises `NotFoundError`; a job that has ended stays as it is."""

    async def revive(self, job_id: JobId) -> JobRecord:
        """Try a dead or failed job again. Raises `NotFoundError`, `ConflictError`, `QueueFullError`."""

    def follow(self, job_id: JobId, after: int) -> AsyncIterator[LogLine | JobRecord]:
        """Log lines with `seq > after` as they come (0: all), the final `JobRecord` last."""

    async def ended(self, job_id: JobId, wait_s: float) -> JobRecord:
        """The job as soon as it has ended, or as it is after so many seconds. Raises `NotFoundError`."""

    def waiting(self, job_id: JobId) -> Waiting | None:
        """None: it does not wait."""

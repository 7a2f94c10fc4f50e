"""The store seam: everything durable, in domain verbs.

Promises: a verb returns only after its effect is committed (and, for SQLite, on disk), except `record_request` and
`append_logs`, which are write-behind. Every change of a job is one statement fenced by its epoch. Verbs raise
`coordinator.errors` only. Implementations pass `tests/conformance/store_suite.py`.
"""

from collections.abc import Sequence
from typing import Protocol

from coordinator.records import (
    Attempt,
    Completion,
    JobKind,
    JobOutcome,
    JobRecord,
    JobState,
    KeyRecord,
    LeaseEnd,
    LogLine,
    ModelRecord,
    NewJob,
    Report,
    TokenRecord,
    UnfinishedJob,
    WorkerRecord,
    WorkerStatus,
)
from gogrid.ids import JobId, KeyId, WorkerId


class Store(Protocol):
    async def close(self) -> None:
        """Write what is still behind, then release the database."""

    async def changed_elsewhere(self) -> bool:
        """True once after another process (the admin's command) committed something."""

    # enrolment

    async def tokens(self) -> list[TokenRecord]: ...

    async def add_token(self, token: TokenRecord) -> None: ...

    async def revoke_token(self, token_id: str) -> None:
        """Raises `NotFoundError`."""

    async def redeem(self, token_id: str, worker: WorkerRecord, now: float) -> WorkerRecord:
        """Use a token once and add the worker, in one transaction.

        A second call with the same token and the same public key returns the worker of the first (its answer was lost).
        Raises `TokenRefusedError`.
        """

    async def workers(self) -> list[WorkerRecord]: ...

    async def set_worker_status(self, worker_id: WorkerId, status: WorkerStatus) -> None:
        """Raises `NotFoundError`."""

    async def set_worker_draining(self, worker_id: WorkerId, draining: bool) -> None:
        """Raises `NotFoundError`."""

    async def set_worker_health(self, worker_id: WorkerId, crashed_jobs: Sequence[JobId], quarantined: str) -> None:
        """Raises `NotFoundError`."""

    async def open_session(self, worker_id: WorkerId) -> int:
        """Raise the worker's session epoch by one and return it."""

    # keys and models

    async def keys(self) -> list[KeyRecord]: ...

    async def add_key(self, key: KeyRecord) -> None: ...

    async def revoke_key(self, key_id: KeyId) -> None:
        """Raises `NotFoundError`."""

    async def models(self) -> list[ModelRecord]: ...

    async def add_model(self, model: ModelRecord) -> None:
        """Raises `ConflictError` if the name is taken by other content; the same content again is fine."""

    async def remove_model(self, name: str) -> ModelRecord:
        """Raises `NotFoundError`."""

    # durable jobs

    async def submit(self, job: NewJob, worker: WorkerId | None = None) -> tuple[JobRecord, bool]:
        """Insert, or find the job of the same owner and idempotency key; True if it is new.

        With `worker`, a new job is leased to it in the same commit, as epoch 1.
        Raises `ConflictError` if the key was used with another body.
        """

    async def submit_all(self, jobs: Sequence[tuple[NewJob, WorkerId | None]]) -> list[tuple[JobRecord, bool]]:
        """Like `submit` for each, in one commit; after a `ConflictError` none is there."""

    async def unfinished(self) -> list[UnfinishedJob]:
        """At start: every job that has not ended, as it is, oldest first."""

    async def claim(self, job_id: JobId, worker: WorkerId) -> int | None:
        """`queued → leased`; the new epoch, or None if the job is no longer queued."""

    async def claim_all(self, wanted: Sequence[tuple[JobId, WorkerId]]) -> list[int | None]:
        """Like `claim` for each, in one commit."""

    async def mark_running(self, job_id: JobId, epoch: int, now: float) -> bool: ...

    async def complete(
        self,
        job_id: JobId,
        epoch: int,
        worker: WorkerId,
        outcome: JobOutcome,
        now: float,
        began_at: float | None = None,
    ) -> Completion:
        """`leased | running → done | failed | cancelled`. `began_at` counts if `mark_running` did not come first."""

    async def complete_all(self, reports: Sequence[Report]) -> list[Completion]:
        """Like `complete` for each, in one commit."""

    async def give_back(
        self, job_id: JobId, epoch: int, end: LeaseEnd, why: str, now: float, not_before: float | None = None
    ) -> bool:
        """`leased | running → queued` for this lease, which is recorded; False if it is no longer valid."""

    async def bury(self, job_id: JobId, epoch: int, end: LeaseEnd, why: str, outcome: JobOutcome, now: float) -> bool:
        """`leased | running → dead` for this lease, which is recorded; False if it is no longer valid."""

    async def cancel(self, job_id: JobId, now: float) -> JobRecord:
        """Any state but a final one `→ cancelled`; a final job comes back unchanged. Raises `NotFoundError`."""

    async def fail(self, job_id: JobId, outcome: JobOutcome, now: float) -> bool:
        """End a job that no lease can finish (`queued → failed`); False if it is no longer queued."""

    async def revive(self, job_id: JobId) -> JobRecord:
        """`dead | failed → queued`: its crashes are forgotten, its epochs go on.

        Raises `NotFoundError`, and `ConflictError` for a job in another state or one whose task is not kept.
        """

    async def job(self, job_id: JobId) -> JobRecord | None: ...

    async def jobs(
        self,
        owner: KeyId | None,
        states: Sequence[JobState],
        kinds: Sequence[JobKind],
        limit: int,
        after: JobId | None = None,
    ) -> list[JobRecord]:
        """Newest first; `owner` None: everybody's; empty `states` or `kinds`: all; those submitted before `after`.

        Raises `NotFoundError` if there is no job `after`.
        """

    async def job_ids(self, beginning: str, owner: KeyId | None, limit: int) -> list[JobId]:
        """Those that begin like this, of one owner or (None) of all."""

    async def submitted(self, owner: KeyId, idempotency_key: str) -> JobRecord | None:
        """The job that was submitted with this key."""

    async def attempts(self, job_id: JobId) -> list[Attempt]:
        """Its leases that ended without a result, oldest first; those the worker never began are left out."""

    async def forget(self, before: float, dead_before: float) -> int:
        """Delete jobs that ended before `before`, dead ones before `dead_before`, with their logs.

        At most 1,000 a call; returns how many.
        """

    # write-behind

    def record_request(self, job: NewJob, worker: WorkerId | None, outcome: JobOutcome, now: float) -> None:
        """Remember an interactive request after the fact; its messages are not kept."""

    def append_logs(self, job_id: JobId, epoch: int, lines: Sequence[LogLine]) -> None: ...

    async def logs(self, job_id: JobId, after: int, limit: int) -> list[LogLine]:
        """Lines of the job's current epoch with `seq > after`, including those not yet on disk."""

"""What the coordinator remembers, as frozen values: the rows of the store, parsed once at its border."""

from dataclasses import dataclass
from enum import Enum

import msgspec

from gogrid.ids import JobId, KeyId, Sha256, WorkerId
from gogrid.protocol.job_messages import EmbeddingDone, PythonDone, TextDone
from gogrid.protocol.tasks import Task


class WorkerStatus(Enum):
    PENDING = "pending"
    """Joined with a token that asks for approval; may not work yet."""
    APPROVED = "approved"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    id: WorkerId
    name: str
    public_key: bytes
    """Ed25519, 32 bytes."""
    status: WorkerStatus
    draining: bool
    session_epoch: int
    joined_at: float
    token_id: str
    quarantined: str = ""
    """Why nothing is given to it, in words; empty: it is not quarantined."""
    crashed_jobs: tuple[JobId, ...] = ()
    """The jobs that crashed on it since it last finished one, oldest first."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    id: str
    public_key: bytes
    """Public half of the key that the token's seed derives; the seed is not kept."""
    label: str
    created_at: float
    expires_at: float
    max_uses: int
    uses: int
    needs_approval: bool
    revoked: bool


class Scope(Enum):
    """What an API key may do."""

    INFERENCE = "inference"
    """`/v1/*`."""
    JOBS = "jobs"
    """Submit, read and cancel its own Python jobs."""
    ADMIN = "admin"
    """Everything, for everybody's things."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    id: KeyId
    name: str
    secret_sha256: bytes
    scopes: frozenset[Scope]
    created_at: float
    expires_at: float | None
    revoked: bool


class ModelKind(Enum):
    CHAT = "chat"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class ModelRecord:
    name: str
    digest: Sha256
    """SHA-256 of the manifest blob (`gogrid.manifest`)."""
    kind: ModelKind
    engine: str
    """Which engine serves it: `torch`, or `echo` for tests."""
    size_bytes: int
    """All files together."""
    memory_bytes: int
    """Estimate of what an executor needs: weights and one full context of KV cache."""
    context_length: int
    width: int
    """Embedding width; 0 for chat models."""
    added_at: float
    kv_token_bytes: int = 0
    """KV cache of one token of one sequence; 0: none, or not known."""


class JobState(Enum):
    QUEUED = "queued"
    LEASED = "leased"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"

    @property
    def final(self) -> bool:
        """True once nothing can change the job any more."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.DEAD)


class JobKind(Enum):
    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    PYTHON = "python"


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job as submitted, before it has a history."""

    id: JobId
    owner: KeyId
    kind: JobKind
    task: Task
    label: str
    """The model's name, or the script's."""
    created_at: float
    idempotency_key: str | None = None
    body_sha256: str = ""
    """Of the request body: the same idempotency key with another body is refused."""
    priority: int = 0
    """-100..100; higher first."""


class TextResult(msgspec.Struct, frozen=True, tag=True):
    """What a durable chat or completion job answered."""

    text: str
    finish_reason: str
    """`stop` or `length`."""
    prompt_tokens: int
    completion_tokens: int


class VectorsResult(msgspec.Struct, frozen=True, tag=True):
    """What a durable embedding job answered."""

    width: int
    data: bytes
    """float32, little-endian, one row of `width` for each input, in order."""
    prompt_tokens: int


JobResult = TextDone | EmbeddingDone | PythonDone | TextResult | VectorsResult
"""What is kept of a job's end: the first two for interactive requests, whose text is not kept."""
_result_decoder: msgspec.msgpack.Decoder[JobResult] = msgspec.msgpack.Decoder(JobResult)


def encode_result(result: JobResult) -> bytes:
    return msgspec.msgpack.encode(result)


def decode_result(data: bytes) -> JobResult:
    """What `JobOutcome.result` holds. Raises `msgspec.DecodeError` for anything else, and for nothing."""
    return _result_decoder.decode(data)


class JobOutcome(msgspec.Struct, frozen=True):
    """How a job ended."""

    state: JobState
    """A final state."""
    result: bytes = b""
    """A `JobResult` as `encode_result` writes it; empty if there is none."""
    error_code: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class JobRecord:
    id: JobId
    owner: KeyId
    kind: JobKind
    label: str
    state: JobState
    epoch: int
    """Grows with each lease; the fencing token."""
    worker: WorkerId | None
    attempts: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    task: Task | None
    """None for interactive requests, whose text is not kept."""
    outcome: JobOutcome | None
    priority: int = 0
    not_before: float | None = None
    """Wall clock: it waits at least until then, because it crashed."""
    crashes: int = 0


class LeaseEnd(Enum):
    """How a lease ended without a result."""

    CRASHED = "crashed"
    """What ran it died, or said that it failed in itself."""
    ERRORED = "errored"
    """It failed alone, and what ran it lives."""
    IN_COMPANY = "crashed_in_company"
    """What ran it died, and ran others, too: none of them is surely to blame."""
    VANISHED = "vanished"
    """The worker had begun, and its connection ended or its lease ran out."""
    FENCED = "fenced"
    """The worker could not reach the coordinator, gave the job up in time, came back and said so."""
    YIELDED = "yielded"
    """The worker gave it back: it drains or stops, its owner wants a model's memory, a file did not arrive."""
    OWNER_RETURNED = "owner_returned"
    """A script was killed because the worker's owner wants the machine."""
    REFUSED = "refused"
    """The worker would not take it."""
    NOT_SENT = "not_sent"
    """The worker was gone before it said a word of it: it may never have been told."""

    @property
    def is_yield(self) -> bool:
        """Whether the worker could have gone on, and would not."""
        return self in (LeaseEnd.YIELDED, LeaseEnd.OWNER_RETURNED)

    @property
    def is_crash(self) -> bool:
        """Whether it counts against the job."""
        return self in (LeaseEnd.CRASHED, LeaseEnd.ERRORED, LeaseEnd.VANISHED)

    @property
    def is_recorded(self) -> bool:
        """Whether the job's history shows it: the worker had begun, or may have."""
        return self not in (LeaseEnd.REFUSED, LeaseEnd.NOT_SENT)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One lease of a job that ended without a result."""

    job_id: JobId
    epoch: int
    worker: WorkerId
    started_at: float | None
    """Wall clock; None: it never began."""
    ended_at: float
    ended: LeaseEnd
    why: str


@dataclass(frozen=True, slots=True)
class UnfinishedJob:
    """A job that the coordinator finds when it starts."""

    record: JobRecord
    crashed_on: tuple[WorkerId, ...]
    """The worker of each of its crashes, oldest first."""
    alone: bool = False
    """What ran it has died before, in company or not: it is tried alone."""


class Report(msgspec.Struct, frozen=True):
    """A worker's word of how a lease ended."""

    job_id: JobId
    epoch: int
    worker_id: WorkerId
    outcome: JobOutcome
    now: float
    began_at: float | None = None
    """When the job began, if the store was not told before."""


class Completion(Enum):
    """What became of a reported outcome."""

    ACCEPTED = "accepted"
    ALREADY = "already"
    """The same lease reported before: the acknowledgement was lost."""
    FENCED = "fenced"
    """A lease that is no longer valid reported: ignored."""


@dataclass(frozen=True, slots=True)
class LogLine:
    seq: int
    stream: str
    """`stdout` or `stderr`."""
    data: bytes

"""What the coordinator remembers, as frozen values: the rows of the store, parsed once at its border."""

from dataclasses import dataclass
from enum import Enum

from gogrid.ids import JobId, KeyId, Sha256, WorkerId
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


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How a job ended."""

    state: JobState
    """A final state."""
    result: bytes = b""
    """msgpack of the `TextDone | EmbeddingDone | PythonDone`; empty if there is none."""
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

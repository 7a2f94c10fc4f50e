"""Every message of a worker connection's control stream, as a frozen typed value.

The control stream (stream 0, opened by the worker) carries `ControlMessage`s. Each running job has one stream of its
own, opened by the worker (`job_messages.py`); a job with little to say has one `Said` instead. A new field needs a
default; unknown fields are ignored, unknown tags are refused.
"""

from gogrid.ids import JobId, WorkerId
from gogrid.protocol.tasks import Task
from gogrid.protocol.wire import Value, Wire
from gogrid.protocol.worker_report import WorkerReport

# --- hello, authentication -------------------------------------------------------------------------------------------


class Hello(Wire, frozen=True):
    """Worker's first word, said only after the coordinator's pin was checked."""

    proto_min: int
    proto_max: int
    software: str
    """`gogrid/0.1.0`."""


class Challenge(Wire, frozen=True):
    """Coordinator's answer to `Hello`: something fresh to sign."""

    coordinator: str
    """The coordinator's display name."""
    server_nonce: bytes
    """32 random bytes."""
    proto: int
    """The protocol version both speak."""
    time: float
    """The coordinator's wall clock, seconds since 1970; shown by `doctor`, never trusted."""


class Auth(Wire, frozen=True):
    """Worker proves its key over the transcript of `gogrid.protocol.auth`."""

    worker_id: WorkerId
    session_nonce: bytes
    signature: bytes


class Join(Wire, frozen=True):
    """Worker redeems a join token: both the token's key and its own new key sign the transcript."""

    token_id: str
    """16 hexadecimal characters; the only part of a token that is ever logged."""
    worker_key: bytes
    """The worker's new Ed25519 public key, 32 bytes."""
    session_nonce: bytes
    hostname: str
    token_signature: bytes
    worker_signature: bytes


class Welcome(Wire, frozen=True):
    """The session is open; its epoch fences every earlier session of this worker."""

    worker_id: WorkerId
    worker_name: str
    session_epoch: int
    heartbeat_s: float
    lease_s: float
    fence_s: float
    """Without a heartbeat answer for this long, the worker kills what it runs."""
    ping_s: float
    ping_timeout_s: float
    ticket: str
    """Bearer of this session for the coordinator's HTTPS blobs; dies with the session."""
    https_port: int


class Reject(Wire, frozen=True):
    """No session; the same shape for an unknown worker and a bad signature."""

    code: int
    """A `CloseCode`."""
    message: str


# --- work ------------------------------------------------------------------------------------------------------------


class Assign(Wire, frozen=True):
    """Coordinator leases a job to this worker; `epoch` fences every earlier lease of it."""

    job_id: JobId
    epoch: int
    task: Task
    durable: bool = False
    """Nobody waits for it at this moment: it outlives a lost link, until its lease or the worker's fence."""
    alone: bool = False
    """A request for a model that may have killed its executor: this time the executor serves nothing else meanwhile."""


class Cancel(Wire, frozen=True):
    job_id: JobId
    epoch: int
    reason: str


class Refuse(Wire, frozen=True):
    """Worker will not run an assigned job; the coordinator places it elsewhere."""

    job_id: JobId
    epoch: int
    reason: str


class Drain(Wire, frozen=True):
    """Coordinator asks the worker to take no new jobs (`on`) or to take them again."""

    on: bool
    reason: str = ""


class LeaseHeld(Value, frozen=True):
    job_id: JobId
    epoch: int


class Heartbeat(Wire, frozen=True):
    """Worker renews the leases it holds. The first one follows `Welcome` at once: what it does not name is lost."""

    seq: int
    held: tuple[LeaseHeld, ...] = ()


class HeartbeatAck(Wire, frozen=True):
    seq: int
    lost: tuple[LeaseHeld, ...] = ()
    """Leases that are no longer the worker's: it stops that work at once."""


class Settled(Wire, frozen=True):
    """The ends of these durable jobs are on disk, or came too late: the worker need not tell them again."""

    leases: tuple[LeaseHeld, ...]


class Said(Wire, frozen=True):
    """All that a lease has to say, from first word to end, where that is little; see `gogrid.protocol.story`."""

    job_id: JobId
    epoch: int
    story: bytes


class Ping(Wire, frozen=True):
    seq: int


class Pong(Wire, frozen=True):
    seq: int


class Goodbye(Wire, frozen=True):
    """The sender closes after this, for the reason given."""

    code: int
    reason: str


ControlMessage = (
    Hello
    | Challenge
    | Auth
    | Join
    | Welcome
    | Reject
    | WorkerReport
    | Assign
    | Cancel
    | Refuse
    | Drain
    | Heartbeat
    | HeartbeatAck
    | Settled
    | Said
    | Ping
    | Pong
    | Goodbye
)

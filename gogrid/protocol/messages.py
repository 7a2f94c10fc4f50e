"""Every message that crosses the worker connection, as a frozen typed value.

The control stream (stream 0, opened by the worker) carries `ControlMessage`s. Each running job has one stream of its
own, opened by the worker, whose first message is `JobOpen` and whose other messages are `JobMessage`s, the last of
them `Finished` or `Failed`; a job with little to say has one `Said` instead. A new field needs a default; unknown
fields are ignored, unknown tags are refused.
"""

from enum import Enum, StrEnum
from typing import Literal

from gogrid.ids import JobId, Sha256, WorkerId
from gogrid.protocol.measured import MeasuredSpeed
from gogrid.protocol.tasks import Task
from gogrid.protocol.wire import Value, Wire

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


# --- the worker's report ---------------------------------------------------------------------------------------------


class DeviceKind(Enum):
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Device(Value, frozen=True):
    """One thing that can compute."""

    kind: DeviceKind
    name: str
    memory_bytes: int
    """VRAM, or RAM for a CPU."""
    cap_bytes: int
    """What jobs may use of it together: the owner's limit."""
    why: str
    """In words: why this device is, or is not, used."""
    usable: bool = True


class Readiness(Enum):
    READY = "ready"
    PAUSED = "paused"
    DRAINING = "draining"
    UNABLE = "unable"
    """Cannot work at all, for instance because no sandbox works."""


class LoadStage(Enum):
    QUEUED = "queued"
    """The worker's memory is with other models, whose turn has not ended."""
    DOWNLOADING = "downloading"
    CONVERTING = "converting"
    LOADING = "loading"


class LoadedModel(Value, frozen=True):
    """A model that sits in an executor now."""

    digest: Sha256
    memory_bytes: int
    running: int
    slots: int
    """How many requests it can serve at once."""
    giving_way: bool = False
    """Another model waits for its room: it ends what it serves and begins nothing new."""


class LoadingModel(Value, frozen=True):
    """A model that is on its way into an executor."""

    digest: Sha256
    stage: LoadStage
    fraction: float
    """0..1 of this stage."""
    eta_s: float = -1.0
    """Seconds until it can serve, as measured here before; negative: not known."""


class RefusedModel(Value, frozen=True):
    """A model that this worker does not serve for a while."""

    digest: Sha256
    reason: str
    """In words: `its process crashed 3 times in a row`."""


class WorkerReport(Wire, frozen=True):
    """What the worker can do and is doing; sent after `Welcome` and whenever it changes."""

    software: str
    hostname: str
    platform: str
    """`linux-x86_64`, `darwin-aarch64`, …"""
    readiness: Readiness
    reason: str
    """In words, for people: `ready`, `paused by its owner`, `no sandbox works: …`."""
    devices: tuple[Device, ...]
    engines: tuple[str, ...]
    """Engine names this worker can start: `torch`, `echo`."""
    sandbox: str
    """In words: which sandbox runs the jobs, and what it cannot enforce."""
    python_jobs: bool
    loaded: tuple[LoadedModel, ...] = ()
    cached: tuple[Sha256, ...] = ()
    """Digests of the models whose files are all in the worker's cache."""
    cores: int = 1
    loading: tuple[LoadingModel, ...] = ()
    refused: tuple[RefusedModel, ...] = ()
    packages: tuple[str, ...] = ()
    """What scripts can import here besides the standard library, as far as it is well known: `numpy 2.4.6`."""
    gpu_scripts: bool = False
    """Its owner lends the GPU to scripts, too: to one at a time, and to no model meanwhile."""
    speed: MeasuredSpeed | None = None
    """None: not measured yet, or on another device than the one it lends now."""


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


# --- a job's own stream ----------------------------------------------------------------------------------------------


class JobOpen(Wire, frozen=True):
    """First message of a job stream; says which lease it speaks for."""

    job_id: JobId
    epoch: int


class Progress(Wire, frozen=True):
    """Why nothing has come out yet."""

    stage: LoadStage
    fraction: float
    """0..1."""
    eta_s: float = -1.0
    """Seconds until the model can serve, as measured here before; negative: not known."""


class Started(Wire, frozen=True):
    """The engine or the script has begun."""

    device: str
    prompt_tokens: int = 0


class TokenLogprob(Value, frozen=True):
    token: str
    token_id: int
    logprob: float
    top: tuple[tuple[str, int, float], ...] = ()
    """(token text, token id, log-probability), likeliest first."""


class Tokens(Wire, frozen=True):
    """The next piece of an answer. `text` may lag behind `token_ids` while a character or stop string is incomplete."""

    seq: int
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()
    more: bool = False
    """The text was too long for one message: the next one goes on with it, and the ids come with the last."""


class Vectors(Wire, frozen=True):
    """Embeddings from number `first` on: float32, little-endian, row after row."""

    first: int
    width: int
    data: bytes


LINES_PER_LEASE = 1 << 24
"""What a job's log numbers grow by with each lease, so that "after this line" outlives the worker that wrote it."""


class Log(Wire, frozen=True):
    """Raw output of a script."""

    seq: int
    """1, 2, 3, …: a reader that has read nothing asks for what comes after 0."""
    stream: Literal["stdout", "stderr"]
    data: bytes


class TextDone(Value, frozen=True, tag=True):
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


class EmbeddingDone(Value, frozen=True, tag=True):
    width: int
    prompt_tokens: int


class OutputFile(Value, frozen=True):
    name: str
    sha256: Sha256
    size: int


class PythonEnd(StrEnum):
    """A plain word for every way in which a script can end."""

    OK = "ok"
    """By itself, with exit code 0."""
    FAILED = "failed"
    """By itself, with another exit code."""
    TIMEOUT = "timeout"
    """It ran longer than its limit."""
    MEMORY = "memory"
    """It needed more memory than its limit, or than its worker could spare."""
    CPU_TIME = "cpu_time"
    """It used more processor time than its limit."""
    OUTPUT_TOO_LARGE = "output_too_large"
    """It left more bytes or files than its limit; none is kept."""
    CRASHED = "crashed"
    """A signal ended it (`PythonDone.signal`), or its sandbox broke."""
    CANCELLED = "cancelled"
    """Its submitter stopped it."""
    OWNER_RETURNED = "owner_returned"
    """The worker's owner took the machine back."""


class PythonDone(Value, frozen=True, tag=True):
    exit_code: int
    """The script's own, or 128 + signal."""
    ended: PythonEnd
    detail: str = ""
    """One sentence when `ended` is neither `ok` nor `failed`; with those, what else its submitter should know."""
    files: tuple[OutputFile, ...] = ()
    logs_truncated: bool = False
    signal: str = ""
    """With `crashed`, the signal that ended it: `SIGSEGV`; empty if none did."""


class Finished(Wire, frozen=True):
    result: TextDone | EmbeddingDone | PythonDone


class FailCode(Enum):
    BAD_REQUEST = "bad_request"
    """The request itself can never succeed: no retry."""
    CONTEXT_LENGTH = "context_length_exceeded"
    MODEL_UNUSABLE = "model_unusable"
    """This model's files cannot be served: no retry."""
    NO_ROOM = "no_room"
    """Does not fit this worker's cap now: place it elsewhere."""
    CRASHED = "crashed"
    """The executor died: a retry may work."""
    INTERNAL = "internal"
    CANCELLED = "cancelled"
    YIELDED = "yielded"
    """The owner wants the machine back: place it elsewhere."""
    FENCED = "fenced"
    """The worker could not reach its coordinator for too long and gave the job up."""


class Failed(Wire, frozen=True):
    code: FailCode
    message: str
    """One sentence for the person who submitted the job."""
    param: str = ""
    """The request parameter at fault, if one is."""
    in_company: bool = False
    """With `CRASHED`: the executor served others, too, so that this request may not be what killed it."""


JobMessage = Progress | Started | Tokens | Vectors | Log | Finished | Failed
JobStreamMessage = JobOpen | JobMessage

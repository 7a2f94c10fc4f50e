"""Every message of a job's own stream, as a frozen typed value.

The first one is `JobOpen`, the others are `JobMessage`s, the last of them `Finished` or `Failed`. A new field needs a
default; unknown fields are ignored, unknown tags are refused.
"""

from enum import Enum, StrEnum
from typing import Literal

from gogrid.ids import JobId, Sha256
from gogrid.protocol.wire import Value, Wire
from gogrid.protocol.worker_report import LoadStage


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

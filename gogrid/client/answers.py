"""What the coordinator's answers become: frozen typed values.

Unknown fields are ignored, so that a newer coordinator may say more.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers."""


class Model(Value, frozen=True):
    """One model that can be asked for by name."""

    id: str
    created: int = 0


class ModelList(Value, frozen=True):
    data: tuple[Model, ...]


class Usage(Value, frozen=True):
    prompt_tokens: int
    completion_tokens: int


class ChatTurn(Value, frozen=True):
    """One message of a conversation, to be sent."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatRequest(Value, frozen=True, omit_defaults=True):
    """The body of a chat request; what is None is left to the model's defaults."""

    model: str
    messages: tuple[ChatTurn, ...]
    stream: bool = False
    stream_options: dict[str, bool] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None


class ChatPiece(Value, frozen=True):
    """The next piece of a streamed answer; the last ones carry why it ended and what it took."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


class ChatAnswer(Value, frozen=True):
    """A whole answer."""

    text: str
    finish_reason: str
    """`stop`, or `length` when it was cut at its token limit."""
    usage: Usage


class _Delta(Value, frozen=True):
    content: str | None = None


class _ChunkChoice(Value, frozen=True):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class ChatChunk(Value, frozen=True):
    """OpenAI's stream chunk, as far as it is used here."""

    choices: tuple[_ChunkChoice, ...] = ()
    usage: Usage | None = None

    def piece(self) -> ChatPiece:
        choice = self.choices[0] if self.choices else _ChunkChoice()
        return ChatPiece(text=choice.delta.content or "", finish_reason=choice.finish_reason, usage=self.usage)


class _Message(Value, frozen=True):
    content: str | None = None


class _Choice(Value, frozen=True):
    """Of a chat (`message`) or a completion (`text`)."""

    finish_reason: str
    message: _Message = _Message()
    text: str | None = None


class ChatReply(Value, frozen=True):
    """OpenAI's whole answer, as far as it is used here."""

    choices: tuple[_Choice, ...]
    usage: Usage

    def answer(self) -> ChatAnswer:
        choice = self.choices[0]
        text = choice.message.content or choice.text or ""
        return ChatAnswer(text=text, finish_reason=choice.finish_reason, usage=self.usage)


# --- jobs, workers, the catalogue -------------------------------------------------------------------------------------


class OutputFile(Value, frozen=True):
    name: str
    """A relative path, chosen by the script: check it before use (`gogrid.client.output`)."""
    size: int
    sha256: str


class EmbeddingRequest(Value, frozen=True):
    model: str
    input: tuple[str, ...]
    encoding_format: str = "float"


class _Embedding(Value, frozen=True):
    index: int
    embedding: tuple[float, ...]


class EmbeddingReply(Value, frozen=True):
    """OpenAI's answer, as far as it is used here."""

    data: tuple[_Embedding, ...]


class JobResult(Value, frozen=True):
    """How a Python job ended by itself."""

    exit_code: int
    """The script's own, or 128 + the signal that ended it."""
    ended: str
    """`ok` or `failed` by itself; else what stopped it, as `gogrid.protocol.job_messages.PythonEnd` lists it."""
    detail: str = ""
    files: tuple[OutputFile, ...] = ()
    logs_truncated: bool = False
    signal: str = ""
    """With `crashed`: `SIGSEGV`."""

    @property
    def by_itself(self) -> bool:
        return self.ended in ("ok", "failed")

    @property
    def word(self) -> str:
        """How it ended, for people: `timeout`, `crashed: SIGSEGV`."""
        return f"{self.ended}: {self.signal}" if self.signal else self.ended


class JobError(Value, frozen=True):
    code: str
    message: str


class Attempt(Value, frozen=True):
    """One worker's try at a job that ended without a result."""

    epoch: int
    worker: str
    worker_name: str
    ended: str
    """`crashed`, `errored`, `crashed_in_company`, `vanished`, `fenced`, `yielded` or `owner_returned`."""
    why: str = ""
    started_at: float | None = None
    ended_at: float = 0.0


class Job(Value, frozen=True):
    """One job; times are seconds since 1970."""

    id: str
    kind: str
    label: str
    state: str
    """`queued`, `leased`, `running`, then `done`, `failed`, `cancelled` or `dead`."""
    owner: str = ""
    priority: int = 0
    """-100..100, higher first."""
    worker: str | None = None
    worker_name: str | None = None
    attempts: int = 0
    """How many workers were given it so far."""
    crashes: int = 0
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    not_before: float | None = None
    """It crashed and is not tried again before then."""
    queue_position: int | None = None
    """How many are expected to be placed before it; None: it does not wait."""
    estimated_start_s: float | None = None
    """Seconds until it is placed; None: it does not wait, or nothing is known to judge by."""
    waiting_for: tuple[str, ...] = ()
    """Why no worker has it yet, one reason for each."""
    history: tuple[Attempt, ...] | None = None
    """Its tries that ended without a result, oldest first; None in lists."""
    result: JobResult | None = None
    error: JobError | None = None

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled", "dead")


class JobList(Value, frozen=True):
    """One page, newest first."""

    data: tuple[Job, ...]
    has_more: bool = False
    """Older ones come with `after` the id of the last."""


class BulkReply(Value, frozen=True):
    ids: tuple[str, ...]


class LogPiece(Value, frozen=True):
    """Raw bytes that the script wrote."""

    seq: int
    stream: Literal["stdout", "stderr"]
    data: bytes


class Limits(Value, frozen=True):
    """What a Python job may use; unset is the coordinator's default."""

    memory_bytes: int | UnsetType = UNSET
    cpu_cores: float | UnsetType = UNSET
    wall_s: float | UnsetType = UNSET
    output_bytes: int | UnsetType = UNSET
    """Of its output files together."""
    output_files: int | UnsetType = UNSET


class PythonRequest(Value, frozen=True, omit_defaults=True):
    """The part of a Python job that is not its files."""

    entry: str
    arguments: tuple[str, ...] = ()
    limits: Limits = Limits()
    gpu: bool = False
    label: str = ""
    priority: int = 0


class ModelJobRequest(Value, frozen=True, omit_defaults=True):
    """A job for a model: `request` is the body of the OpenAI endpoint of its kind."""

    kind: Literal["chat", "completion", "embedding"]
    request: Mapping[str, object]
    label: str = ""
    priority: int = 0


class Device(Value, frozen=True):
    kind: str
    name: str
    memory_bytes: int = 0
    cap_bytes: int = 0
    usable: bool = True
    why: str = ""


class Worker(Value, frozen=True):
    id: str
    name: str
    status: str
    connected: bool
    readiness: str
    """`ready`, `paused`, `draining`, `unable`, `quarantined` or `offline`."""
    reason: str
    silent: bool = False
    """Connected, but it does not answer at the moment."""
    draining: bool = False
    quarantined: str = ""
    """Why it gets nothing before an admin releases it."""
    platform: str = ""
    software: str = ""
    sandbox: str = ""
    python_jobs: bool = False
    packages: tuple[str, ...] = ()
    """What scripts can import there besides the standard library: `numpy 2.4.6`."""
    gpu_scripts: bool = False
    """Its owner lends the GPU to scripts."""
    cores: int = 0
    devices: tuple[Device, ...] = ()
    models: tuple[str, ...] = ()
    running: int = 0
    connected_since: float | None = None
    joined_at: float | None = None
    """A machine that joined again is another worker with the same name."""
    remote: str | None = None


class WorkerList(Value, frozen=True):
    data: tuple[Worker, ...]


class CatalogueModel(Value, frozen=True):
    """A model with what an admin knows of it."""

    name: str
    kind: str
    engine: str = ""
    digest: str = ""
    size_bytes: int = 0
    memory_bytes: int = 0
    context_length: int = 0
    width: int = 0
    workers: tuple[str, ...] = ()
    """Names of the workers that have it loaded."""


class CatalogueModelList(Value, frozen=True):
    data: tuple[CatalogueModel, ...]

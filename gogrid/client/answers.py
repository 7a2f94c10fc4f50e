"""What the coordinator's answers become: frozen typed values.

Unknown fields are ignored, so that a newer coordinator may say more.
"""

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
    message: _Message
    finish_reason: str


class ChatReply(Value, frozen=True):
    """OpenAI's whole answer, as far as it is used here."""

    choices: tuple[_Choice, ...]
    usage: Usage

    def answer(self) -> ChatAnswer:
        choice = self.choices[0]
        return ChatAnswer(text=choice.message.content or "", finish_reason=choice.finish_reason, usage=self.usage)


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
    ended: str
    """`exit`, or what stopped it: `timeout`, `memory`, `cpu_time`, `output_too_large`, `crashed`, …"""
    detail: str = ""
    files: tuple[OutputFile, ...] = ()
    logs_truncated: bool = False


class JobError(Value, frozen=True):
    code: str
    message: str


class Job(Value, frozen=True):
    """One job; times are seconds since 1970."""

    id: str
    kind: str
    label: str
    state: str
    """`queued`, `leased`, `running`, then `done`, `failed`, `cancelled` or `dead`."""
    worker: str | None = None
    attempts: int = 0
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    queue_position: int | None = None
    """0: next to be placed."""
    waiting_for: tuple[str, ...] = ()
    """Why no worker has it yet, one reason for each."""
    result: JobResult | None = None
    error: JobError | None = None

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled", "dead")


class JobList(Value, frozen=True):
    data: tuple[Job, ...]


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


class PythonRequest(Value, frozen=True, omit_defaults=True):
    """The part of a Python job that is not its files."""

    entry: str
    arguments: tuple[str, ...] = ()
    limits: Limits = Limits()
    label: str = ""


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
    reason: str
    platform: str = ""
    software: str = ""
    sandbox: str = ""
    python_jobs: bool = False
    cores: int = 0
    devices: tuple[Device, ...] = ()
    models: tuple[str, ...] = ()
    running: int = 0
    connected_since: float | None = None
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

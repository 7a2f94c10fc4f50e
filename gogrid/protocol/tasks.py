"""What a worker can be asked to do, as frozen typed values: the part of the wire that jobs are made of.

A new field needs a default; unknown fields are ignored, unknown tags are refused.
"""

from enum import Enum
from typing import Literal

from gogrid.ids import Sha256
from gogrid.protocol.wire import Value, Wire


class ModelRef(Value, frozen=True):
    """A model by content: `digest` is the SHA-256 of its manifest, which is itself a blob."""

    name: str
    digest: Sha256


class ChatMessage(Value, frozen=True):
    role: Literal["system", "user", "assistant", "developer", "tool"]
    content: str
    name: str = ""


class Sampling(Value, frozen=True):
    """How the next token is chosen; the field names and meanings are OpenAI's."""

    max_tokens: int = 0
    """0: until the context is full."""
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    """Always set by the coordinator, so that noise depends on (seed, position) alone."""
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logprobs: int = -1
    """-1: none; n ≥ 0: the log-probability of each token and of the n likeliest ones."""


class ResumeMode(Enum):
    EXACT = "exact"
    """Feed the known tokens one decode step at a time, as they were first made: the same numbers again."""
    FAST = "fast"
    """Compute prompt and known tokens in one go: the same up to rounding, which may turn a close choice."""


class Resume(Value, frozen=True):
    """An answer that another worker began. The engine goes on as if it had made these tokens in this same request:
    nothing of their text or log-probabilities is said again (text it still held back comes once it is released), an
    echoed prompt counts as said, and limits, penalties, stop strings, noise and usage count them."""

    token_ids: tuple[int, ...]
    """Every id that was sent, in order; empty if only the echoed prompt was."""
    mode: ResumeMode


class ChatTask(Wire, frozen=True):
    model: ModelRef
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    resume: Resume | None = None


class CompletionTask(Wire, frozen=True):
    model: ModelRef
    prompt: str | tuple[int, ...]
    sampling: Sampling
    echo: bool = False
    resume: Resume | None = None


class EmbeddingTask(Wire, frozen=True):
    model: ModelRef
    inputs: tuple[str | tuple[int, ...], ...]


class InputFile(Value, frozen=True):
    name: str
    """A relative path below `/job/in`, `/` between its parts."""
    sha256: Sha256
    size: int


class PythonLimits(Value, frozen=True):
    memory_bytes: int = 2 << 30
    cpu_cores: float = 1.0
    wall_s: float = 600.0
    output_bytes: int = 64 << 20
    output_files: int = 1000
    log_bytes: int = 1 << 20


class PythonTask(Wire, frozen=True):
    """Run `entry` from `files` in a fresh sandbox; what it leaves in its working folder is the output."""

    files: tuple[InputFile, ...]
    entry: str
    arguments: tuple[str, ...] = ()
    limits: PythonLimits = PythonLimits()
    gpu: bool = False


Task = ChatTask | CompletionTask | EmbeddingTask | PythonTask

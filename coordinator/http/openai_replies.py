"""OpenAI's response and stream shapes, and how worker answers become them. Pure."""

import base64
import struct
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from coordinator.http.model_status import ModelStatus
from coordinator.records import ModelRecord
from gogrid.protocol.job_messages import TokenLogprob

_LEAST_LOGPROB = -9999.0
"""JSON has no minus infinity; this is OpenAI's stand-in."""


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TopLogprob(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int]


class ContentLogprob(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct, frozen=True):
    content: list[ContentLogprob]
    refusal: None = None


class CompletionLogprobs(msgspec.Struct, frozen=True):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


FinishReason = Literal["stop", "length"]


class AssistantMessage(msgspec.Struct, frozen=True):
    content: str
    role: str = "assistant"
    refusal: None = None


class ChatChoice(msgspec.Struct, frozen=True):
    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class ChatReply(msgspec.Struct, frozen=True):
    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage
    object: str = "chat.completion"


class Delta(msgspec.Struct, frozen=True):
    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, frozen=True):
    index: int
    delta: Delta
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatChunk(msgspec.Struct, frozen=True):
    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    object: str = "chat.completion.chunk"


class TextChoice(msgspec.Struct, frozen=True):
    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None = None


class TextReply(msgspec.Struct, frozen=True):
    """A whole completion, and also one chunk of a streamed one."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[TextChoice]
    usage: Usage | UnsetType | None = UNSET
    object: str = "text_completion"


class Embedding(msgspec.Struct, frozen=True):
    index: int
    embedding: list[float] | str
    object: str = "embedding"


class EmbeddingUsage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int


class EmbeddingReply(msgspec.Struct, frozen=True):
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    object: str = "list"


class Model(msgspec.Struct, frozen=True):
    id: str
    created: int
    owned_by: str = "gogrid"
    object: str = "model"
    status: ModelStatus | UnsetType = UNSET
    """Where it is; not in the list."""


class ModelList(msgspec.Struct, frozen=True):
    data: list[Model]
    object: str = "list"


def model_shape(record: ModelRecord, status: ModelStatus | UnsetType = UNSET) -> Model:
    return Model(record.name, int(record.added_at), status=status)


def chat_logprobs(tokens: tuple[TokenLogprob, ...] | list[TokenLogprob]) -> ChatLogprobs | None:
    if not tokens:
        return None
    return ChatLogprobs(
        [
            ContentLogprob(
                token.token,
                _finite(token.logprob),
                _bytes(token.token),
                [TopLogprob(text, _finite(logprob), _bytes(text)) for text, _, logprob in token.top],
            )
            for token in tokens
        ]
    )


def completion_logprobs(
    tokens: tuple[TokenLogprob, ...] | list[TokenLogprob], offset: int
) -> CompletionLogprobs | None:
    """`offset` is where the first of these tokens begins in the choice's text, in characters."""
    if not tokens:
        return None
    offsets: list[int] = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.token)
    tops = [{text: _finite(logprob) for text, _, logprob in token.top} for token in tokens]
    return CompletionLogprobs(
        [token.token for token in tokens],
        [_finite(token.logprob) for token in tokens],
        tops if any(tops) else None,
        offsets,
    )


def embedding_shapes(rows: bytes, width: int, as_base64: bool) -> list[Embedding]:
    """`rows` is float32, little-endian, row after row."""
    step = width * 4
    pieces = [rows[at : at + step] for at in range(0, len(rows), step)]
    if as_base64:
        return [Embedding(i, base64.b64encode(piece).decode("ascii")) for i, piece in enumerate(pieces)]
    return [Embedding(i, list(struct.unpack(f"<{width}f", piece))) for i, piece in enumerate(pieces)]


def _bytes(token: str) -> list[int]:
    return list(token.encode("utf-8", "replace"))


def _finite(logprob: float) -> float:
    return logprob if logprob > _LEAST_LOGPROB else _LEAST_LOGPROB

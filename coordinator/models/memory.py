"""How much memory serving a model needs, estimated once from its files' headers when it is added. Pure.

    memory = weights + largest tensor + KV cache + workspace + runtime

- weights: every parameter as the engine holds it, 2 bytes in chat models and 4 in embedding models, however stored; and
  once the largest tensor as it is stored, which lies beside them while it is converted.
- KV cache: 2 (keys and values) * layers * key/value heads * head size * 2 bytes for each token of one sequence; of one
  full context, but at most 16,384 tokens: beyond that a worker serves what its cap leaves room for, and a request that
  asks for more says so (`request_bytes`). Embedding models keep none.
- workspace: logits of a full batch and the widest layer's activations of one chunk.
- runtime: 600 MiB, a CUDA context or torch's libraries.

It is meant to be an upper bound: docs/memory.md compares it with what real models used.
"""

from dataclasses import dataclass

KV_TOKENS = 16_384
RUNTIME_BYTES = 600 << 20
_CHAT_BYTES = 2
_EMBEDDING_BYTES = 4
_SLOTS = 64
"""Requests in one forward pass, at most."""
_CHUNK = 2048
"""Tokens in one forward pass, usually."""
_BESIDE = 16
"""Bytes of work for each number of logits or activations."""


@dataclass(frozen=True, slots=True)
class Attention:
    """What the KV cache of a model is made of."""

    layers: int
    kv_heads: int
    head_size: int

    @property
    def kv_token_bytes(self) -> int:
        """Of one token of one sequence."""
        return 2 * self.layers * self.kv_heads * self.head_size * 2


@dataclass(frozen=True, slots=True)
class Weights:
    """What the headers of weight files say; add them up."""

    parameters: int
    largest_bytes: int
    """The largest tensor, as stored."""

    def __add__(self, other: "Weights") -> "Weights":
        return Weights(self.parameters + other.parameters, max(self.largest_bytes, other.largest_bytes))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a model's layers, from its configuration."""

    vocabulary: int
    widest: int
    """Numbers in its widest layer's activations of one token."""
    context_length: int


def chat_bytes(weights: Weights, attention: Attention | None, sizes: Sizes) -> int:
    cache = 0 if attention is None else attention.kv_token_bytes * min(sizes.context_length, KV_TOKENS)
    work = (_SLOTS * sizes.vocabulary + _CHUNK * sizes.widest) * _BESIDE
    return weights.parameters * _CHAT_BYTES + weights.largest_bytes + cache + work + RUNTIME_BYTES


def embedding_bytes(weights: Weights, sizes: Sizes) -> int:
    work = _CHUNK * sizes.widest * 2 * _BESIDE
    return weights.parameters * _EMBEDDING_BYTES + weights.largest_bytes + work + RUNTIME_BYTES


def request_bytes(memory_bytes: int, kv_token_bytes: int, context_length: int, tokens: int) -> int:
    """What serving a request of so many tokens, prompt and answer, needs of a worker.

    Args:
        memory_bytes: the model's own estimate.
        tokens: more than the model's context counts as all of it: answers end there.
    """
    return memory_bytes + kv_token_bytes * max(0, min(tokens, context_length) - KV_TOKENS)

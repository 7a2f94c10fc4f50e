"""How much memory serving a model needs, estimated once when it is added; placement compares it with a worker's cap.

    memory = weights * 1.05 + KV cache + 512 MiB
    KV cache = 2 (keys and values) * layers * key/value heads * head size * 2 bytes * min(context, 16,384) tokens

Weights count as they are stored; GGUF weights as 2 bytes a parameter, for they are dequantised. The KV cache is that of
one full context, but at most of 16,384 tokens: beyond that a worker serves what its cap leaves room for. 512 MiB is the
runtime and the activations. Embedding models keep no KV cache.
"""

from dataclasses import dataclass

KV_TOKENS = 16_384
RUNTIME_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Attention:
    """What the KV cache of a model is made of."""

    layers: int
    kv_heads: int
    head_size: int

    def kv_bytes(self, tokens: int) -> int:
        return 2 * self.layers * self.kv_heads * self.head_size * 2 * tokens


def memory_bytes(weight_bytes: int, attention: Attention | None, context_length: int) -> int:
    kv = 0 if attention is None else attention.kv_bytes(min(context_length, KV_TOKENS))
    return weight_bytes * 105 // 100 + kv + RUNTIME_BYTES

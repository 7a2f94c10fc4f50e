"""Attention over the paged cache in which every request sees only its own tokens.

transformers' continuous batching without a flash kernel puts all requests of a batch into one long sequence and
masks what they must not see of each other: 16 requests cost 16 times the attention they need, and a mask of that
size. Here the requests that add one token are attended to as one padded batch and the others one by one, all with
torch's own SDPA.

Promises the same numbers as a request computed alone: to the last bit on a CPU, where queries and keys are padded so
that torch's kernel adds up in the same order whatever the company and however a prompt was cut (docs/adr/0009), and up
to rounding elsewhere. Refuses models whose attention is more than a scaled softmax (soft caps, sinks, position
biases), with `ModelError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from gogrid.protocol.job_messages import FailCode
from runner.errors import ModelError

NAME = "gogrid_ragged"
_BEYOND = ("softcap", "s_aux", "position_bias")
_KEY_BLOCK = 512
"""torch's CPU kernel works through the keys in blocks of this many, one after the other."""
_SUMMED_AT_ONCE = 192
"""A last block of up to so many keys, or of twice as many and more, is summed in the same order as the beginning of a
whole one; between the two the kernel splits it into halves."""
_LANES = 16
_ROWS = 4
"""Query rows come in multiples of this: the kernel's buffers are then aligned alike for every thread."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Several new tokens of one request: where they and all its tokens lie among the queries and the keys read."""

    queries: slice
    keys: slice
    mask: Tensor | None
    """(new, all), True where a new token may look, both padded as far as the tensors are to be; None: causal from the
    first token on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One forward pass, laid out for all its layers."""

    read_index: Tensor
    """Rows of the cache to read: the singles' padded to the longest, then each chunk's; empty: nothing is cached."""
    singles: int
    """Requests that add one token; their queries come first."""
    rows: int
    """The singles' query heads of one key head are padded to a multiple of this."""
    mask: Tensor | None
    """(singles, 1, 1, longest), True where a key is real; None: all are."""
    chunks: tuple[Chunk, ...]


def plan(read_index: Tensor, new: Sequence[int], total: Sequence[int]) -> Plan:
    """Lay out a pass.

    Args:
        read_index: the cache rows of all requests, one after the other; empty if no request has any yet.
        new: how many tokens each request adds; the singles come first.
        total: how many tokens each request has with them.
    """
    device = read_index.device
    steady = device.type == "cpu"
    singles = next((place for place, count in enumerate(new) if count != 1), len(new)) if read_index.numel() else 0
    longest = max(total[:singles], default=0)
    parts, mask = list[Tensor](), None
    if singles:
        longest = key_room(longest) if steady else longest
        ends = torch.tensor(total[:singles], device=device)
        real = torch.arange(longest, device=device)[None, :] < ends[:, None]
        padded = torch.zeros(singles, longest, dtype=read_index.dtype, device=device)
        padded[real] = read_index[: sum(total[:singles])]
        parts.append(padded.view(-1))
        if min(total[:singles]) < longest:
            mask = real[:, None, None, :]
    chunks, query, key = [], singles, singles * longest
    for added, length in zip(new[singles:], total[singles:], strict=True):
        seen = _seen(added, length, device, steady) if steady or added < length else None
        chunks.append(Chunk(slice(query, query + added), slice(key, key + length), seen))
        query, key = query + added, key + length
    if chunks and read_index.numel():
        parts.append(read_index[sum(total[:singles]) :])
    rows = _ROWS if steady else 1
    return Plan(torch.cat(parts) if parts else read_index, singles, rows, mask, tuple(chunks))


def key_room(length: int) -> int:
    """How many keys to give torch's CPU kernel for `length` of them, so that the order of its sums does not depend on
    how many masked ones follow."""
    whole, rest = divmod(length, _KEY_BLOCK)
    halved = _SUMMED_AT_ONCE < rest < 2 * _SUMMED_AT_ONCE
    return whole * _KEY_BLOCK + (2 * _SUMMED_AT_ONCE if halved else _up(rest, _LANES))


def _up(count: int, step: int) -> int:
    return -(-count // step) * step


def _seen(added: int, length: int, device: torch.device, steady: bool) -> Tensor:
    rows, keys = (_up(added, _LANES), key_room(length)) if steady else (added, length)
    first = length - added
    positions = torch.arange(first, first + rows, device=device)
    return torch.arange(keys, device=device)[None, :] <= positions[:, None]


def _to(tensor: Tensor, count: int) -> Tensor:
    """(…, tokens, width) with zeros after its tokens until there are `count`."""
    missing = count - tensor.shape[-2]
    return pad(tensor, (0, 0, 0, missing)) if missing else tensor


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """transformers' attention interface; tensors are (1, heads, tokens, width)."""
    if any(kwargs.get(name) is not None for name in _BEYOND):
        raise ModelError(
            f"This model's attention ({type(module).__name__}) is not served yet.", FailCode.MODEL_UNUSABLE
        )
    laid_out, cache = kwargs["ragged_plan"], kwargs["cache"]
    assert isinstance(laid_out, Plan)  # noqa: S101  ours, from the batcher
    kwargs["read_index"] = [laid_out.read_index]
    key, value = cache.update(key, value, module.layer_idx, kwargs)  # type: ignore[attr-defined]
    heads, kv_heads, width = query.shape[1], key.shape[1], query.shape[3]
    parts: list[Tensor] = []
    if count := laid_out.singles:
        end = len(laid_out.read_index) if not laid_out.chunks else laid_out.chunks[0].keys.start
        group = heads // kv_heads
        queries = query[0, :, :count].transpose(0, 1).reshape(count, kv_heads, group, width)
        keys, values = (
            cached[0, :, :end].transpose(0, 1).view(count, -1, kv_heads, cached.shape[3]).transpose(1, 2)
            for cached in (key, value)
        )
        queries = _to(queries, _up(group, laid_out.rows))
        attended = scaled_dot_product_attention(queries, keys, values, attn_mask=laid_out.mask, scale=scaling)
        parts.append(attended[:, :, :group].reshape(1, count, heads, -1))
    for chunk in laid_out.chunks:
        added = chunk.queries.stop - chunk.queries.start
        rows, length = (added, chunk.keys.stop - chunk.keys.start) if chunk.mask is None else chunk.mask.shape
        attended = scaled_dot_product_attention(
            _to(query[:, :, chunk.queries], rows),
            _to(key[:, :, chunk.keys], length),
            _to(value[:, :, chunk.keys], length),
            attn_mask=chunk.mask,
            is_causal=chunk.mask is None,
            scale=scaling,
            enable_gqa=heads != kv_heads,
        )
        parts.append(attended[:, :, :added].transpose(1, 2))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1), None


def _no_mask(*_: object, **__: object) -> None:
    """Requests are kept apart by the plan."""


def register() -> None:
    """Make the name known to transformers; harmless to repeat."""
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _no_mask)

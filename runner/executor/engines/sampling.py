"""Choosing the next token, so that it depends on nothing but the logits, the seed and the position.

Temperature, top_p and the penalties mean what OpenAI's API says. Chance comes as Gumbel noise that a hash makes from
(seed, position, token); the largest sum of scaled logit and noise wins, which draws from the softmax exactly. So a
stream continued elsewhere from its token ids goes on as it would have here, whoever else is in the batch.
Log-probabilities are those of the model itself, before temperature and penalties. No NaN is ever sampled from: such
a row gives no token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gogrid.protocol.tasks import Sampling

_NUCLEUS = (256, 4096)
"""Likeliest tokens looked at for top_p before the whole vocabulary is sorted, which takes some 3 ms."""
_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True, slots=True)
class Row:
    """One request's turn."""

    sampling: Sampling
    position: int
    """How many tokens its answer has already."""
    counts: Mapping[int, int]
    """How often each token is in its answer; looked at only for penalties."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The token, and what the model thought of it if asked."""

    token: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()


@torch.inference_mode()
def choose(logits: Tensor, rows: Sequence[Row]) -> list[Choice | None]:
    """The next token of each row; None where the logits are not numbers.

    Args:
        logits: (rows, vocabulary), float32; overwritten.
        rows: one for each row.
    """
    wanted = [place for place, row in enumerate(rows) if row.sampling.logprobs >= 0]
    raw = {place: torch.log_softmax(logits[place], dim=-1) for place in wanted}
    for place, row in enumerate(rows):
        _penalise(logits[place], row)
    best, winners = logits.max(dim=-1)
    tokens, sane = winners.tolist(), torch.isfinite(best).tolist()
    for place, row in enumerate(rows):
        if row.sampling.temperature > 0 and sane[place]:
            tokens[place] = _draw(logits[place], best[place], row)
    return [
        _choice(token, raw.get(place), rows[place].sampling.logprobs) if sane[place] else None
        for place, token in enumerate(tokens)
    ]


def _penalise(scores: Tensor, row: Row) -> None:
    sampling = row.sampling
    if not row.counts or (sampling.frequency_penalty == 0 and sampling.presence_penalty == 0):
        return
    seen = torch.tensor(list(row.counts), device=scores.device)
    often = torch.tensor(list(row.counts.values()), device=scores.device, dtype=scores.dtype)
    scores[seen] -= often * sampling.frequency_penalty + sampling.presence_penalty


def _draw(scores: Tensor, best: Tensor, row: Row) -> int:
    scaled = (scores - best) / row.sampling.temperature
    if row.sampling.top_p >= 1:
        tokens = torch.arange(len(scaled), dtype=torch.int32, device=scaled.device)
        return int((scaled + gumbel(row.sampling.seed, row.position, tokens)).argmax())
    values, tokens = _nucleus(scaled, row.sampling.top_p)
    return int(tokens[(values + gumbel(row.sampling.seed, row.position, tokens.int())).argmax()])


def _nucleus(scaled: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The likeliest tokens that together have at least `top_p`, at least one, and their values."""
    whole = scaled.logsumexp(dim=-1)
    for size in (*(size for size in _NUCLEUS if size < len(scaled)), len(scaled)):
        values, tokens = scaled.topk(size)
        before = (values - whole).exp().cumsum(dim=-1).roll(1)
        reached = float(before[0])
        before[0] = 0.0
        if reached >= top_p or size == len(scaled):
            kept = max(int((before < top_p).sum()), 1)
            return values[:kept], tokens[:kept]
    raise AssertionError("the last size is the whole vocabulary")


def gumbel(seed: int, position: int, tokens: Tensor) -> Tensor:
    """Standard Gumbel noise for some tokens (int32), the same on every machine up to the last bit of a logarithm."""
    key = _mix64((seed & _MASK64) ^ _mix64(position))
    bits = _mix32(tokens * _int32(0x9E3779B1) + _int32(key), _int32(key >> 32))
    uniform = ((bits >> 9) & 0x7FFFFF).float().add_(0.5).mul_(2.0**-23)
    return uniform.log_().neg_().log_().neg_()


def _mix32(bits: Tensor, key: int) -> Tensor:
    """A 32-bit integer hash (Wellons' lowbias32) with a second key in its middle."""
    bits = (bits ^ ((bits >> 16) & 0xFFFF)) * _int32(0x7FEB352D)
    bits = (bits ^ ((bits >> 15) & 0x1FFFF) ^ key) * _int32(0x846CA68B)
    return bits ^ ((bits >> 16) & 0xFFFF)


def _mix64(value: int) -> int:
    """splitmix64's finaliser."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK64
    return value ^ (value >> 31)


def _int32(value: int) -> int:
    """The low 32 bits as a signed number."""
    value &= _MASK32
    return value - (1 << 32) if value >> 31 else value


def _choice(token: int, raw: Tensor | None, most: int) -> Choice:
    if raw is None:
        return Choice(token)
    values, ids = raw.topk(min(most, len(raw)))
    return Choice(token, float(raw[token]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))

"""How much of a model is served at once in the memory that was granted. Pure.

Promises: weights, cache and working space together stay under the cap, or `ModelError` says what was needed.
"""

from dataclasses import dataclass

from gogrid.protocol.job_messages import FailCode
from runner.errors import ModelError
from runner.executor.engines.batcher import PAGE, BatchLimits

_SMALLEST_CONTEXT = 512
_TRASH_BLOCKS = 2
"""transformers keeps two blocks that no request gets."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A loaded model's needs, in bytes and tokens."""

    used: int
    """Held by the process already."""
    per_token: int
    """Cache bytes of one token."""
    vocabulary: int
    widest: int
    """Width of the widest layer."""
    context: int
    """The longest the model was made for."""


def capacity(demand: Demand, cap_bytes: int, slots: int, chunk: int, usual: int) -> tuple[BatchLimits, int]:
    """What to serve and how long a context may be.

    Args:
        demand: the model's needs.
        cap_bytes: what the process may hold.
        slots: the most requests worth having in one pass here.
        chunk: the most tokens worth having in one pass here.
        usual: room to keep for each request beside one that fills the whole context, in tokens.

    Raises:
        ModelError: not even one short context fits.
    """
    working = slots * demand.vocabulary * 16 + chunk * demand.widest * 16
    block = PAGE * demand.per_token
    affordable = (cap_bytes - demand.used - working) // block - _TRASH_BLOCKS
    wanted = _pages(demand.context) + 1 + (slots - 1) * (_pages(min(usual, demand.context)) + 1)
    blocks = min(affordable, wanted)
    least = _pages(min(demand.context, _SMALLEST_CONTEXT)) + 1
    if blocks < least:
        needed = demand.used + working + (least + _TRASH_BLOCKS) * block
        raise ModelError(
            f"This model needs {_megabytes(needed)} here and {_megabytes(cap_bytes)} are granted; "
            "raise the worker's memory limit or use a smaller model.",
            FailCode.NO_ROOM,
        )
    context = min(demand.context, (blocks - 1) * PAGE)
    shares = blocks * PAGE // min(context, _SMALLEST_CONTEXT)
    return BatchLimits(slots=min(slots, max(shares, 1)), blocks=blocks, chunk=chunk), context


def _pages(tokens: int) -> int:
    return -(-tokens // PAGE)


def _megabytes(size: int) -> str:
    return f"{max(size, 0) / 1e6:,.0f} MB"

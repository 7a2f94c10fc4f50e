"""When a sandbox that uses more than its cap is to be killed: twice over, one look after the other.

A core: samples and `now` in, a verdict out. One look alone is not believed, because memory that is being handed over
counts twice for a moment; old looks say nothing about now. Whoever samples every 250 ms kills within one second.
"""

from collections.abc import Sequence
from typing import NamedTuple

SAMPLE_EVERY_S = 0.25
"""How often to look."""
_OVER_TIMES = 2
_FRESH_S = 2.0
"""Looks older than this are not counted: the sampler was held up, and starts anew."""


class Sample(NamedTuple):
    at: float
    """In seconds, of the clock that gives `now`."""
    used: int
    """Bytes (or another count that has a cap), over all processes of the sandbox."""


def over(samples: Sequence[Sample], cap: int, now: float) -> bool:
    """Whether to kill: the newest two samples, the oldest first in `samples`, are both fresh and above `cap`."""
    newest = samples[-_OVER_TIMES:]
    return len(newest) == _OVER_TIMES and all(sample.used > cap and now - sample.at <= _FRESH_S for sample in newest)

"""Which words on a model's progress are worth sending. Pure.

Promises: a new stage at once, another percent at once, and a sign of life every few seconds in between.
"""

from dataclasses import dataclass

from gogrid.protocol.job_messages import Progress

_STEP = 0.01
_AGAIN_S = 5.0


@dataclass(slots=True)
class Teller:
    """Of one job."""

    _last: Progress | None = None
    _at: float = 0.0

    def worth(self, progress: Progress, now: float) -> bool:
        """Whether to send this, which is then taken as sent."""
        last = self._last
        new = last is None or last.stage is not progress.stage or progress.fraction - last.fraction >= _STEP
        if not new and now - self._at < _AGAIN_S:
            return False
        self._last, self._at = progress, now
        return True

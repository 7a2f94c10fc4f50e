"""How fast jobs end, as far as it was seen: what an estimate of a waiting job's start rests on. A core."""

from collections import deque

from gogrid.ids import Sha256

_ENDS = 64
_FEWEST = 3
_OLD_S = 900.0


class Pace:
    """Ends of jobs by what they needed: a model, or (None) the cores for scripts."""

    def __init__(self) -> None:
        self._ends: dict[Sha256 | None, deque[float]] = {}

    def ended(self, resource: Sha256 | None, now: float) -> None:
        self._ends.setdefault(resource, deque(maxlen=_ENDS)).append(now)

    def rate(self, resource: Sha256 | None, now: float) -> float | None:
        """Ends a second of late, or None if there were too few to tell."""
        recent = [end for end in self._ends.get(resource, ()) if end > now - _OLD_S]
        if len(recent) < _FEWEST:
            return None
        return (len(recent) - 1) / max(now - recent[0], 1e-3)

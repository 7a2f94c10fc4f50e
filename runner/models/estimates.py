"""How long a model will take, from what was measured here before. Pure: times are given.

Promises: nothing is guessed that was not measured; what is not known is None. Rates follow the last seconds, load
times the last load of the same model, or else of others by their size.
"""

from dataclasses import dataclass, field
from math import exp

from gogrid.ids import Sha256

_MEMORY_S = 10.0
"""A rate forgets what is older than about this."""


@dataclass(slots=True)
class Meter:
    """How fast something with a known end gets on."""

    _at: float | None = None
    _done: float = 0.0
    _rate: float | None = None

    def seen(self, now: float, done: float) -> None:
        """`done`, in any unit, has been done by now; less than before starts anew."""
        if self._at is None or done < self._done:
            self._rate = None
        elif now > self._at:
            step = (done - self._done) / (now - self._at)
            weight = exp((self._at - now) / _MEMORY_S) if self._rate is not None else 0.0
            self._rate = weight * (self._rate or 0.0) + (1 - weight) * step
        self._at, self._done = now, done

    def seconds(self, rest: float) -> float | None:
        """For as much as `rest`."""
        if rest <= 0:
            return 0.0
        return rest / self._rate if self._rate is not None and self._rate > 0 else None


@dataclass(slots=True)
class Durations:
    """How long one step takes for which model."""

    _by_model: dict[Sha256, float] = field(default_factory=dict)
    _per_byte: float | None = None

    def took(self, digest: Sha256, size: int, seconds: float) -> None:
        self._by_model[digest] = seconds
        if size > 0:
            self._per_byte = seconds / size

    def expect(self, digest: Sha256, size: int) -> float | None:
        known = self._by_model.get(digest)
        if known is None and self._per_byte is not None:
            return self._per_byte * size
        return known


def remaining(fraction: float, elapsed: float, expected: float | None) -> float | None:
    """Seconds left of a step that says how far it is and lasts `elapsed` already."""
    if expected is not None and expected > elapsed:
        return expected - elapsed
    return elapsed * (1 - fraction) / fraction if fraction > 0 else None


def total(parts: tuple[float | None, ...]) -> float | None:
    """The sum; None if any part is not known."""
    return None if any(part is None for part in parts) else sum(part or 0.0 for part in parts)

"""Counting what a receiver lets a sender do: bytes in a window, and things per second.

No clock inside: whoever asks says what time it is.
"""


class Window:
    """A receive window that moves with what was handled, not with what arrived.

    A peer that fills it waits until bytes are handled; gaps and far offsets gain it nothing.
    """

    __slots__ = ("_handled", "_limit", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._handled = 0
        self._limit = size

    @property
    def handled(self) -> int:
        return self._handled

    @property
    def limit(self) -> int:
        """The highest offset the peer may send up to. Grows in steps of a quarter, so that few updates are sent."""
        return self._limit

    def handle(self, size: int) -> bool:
        """`size` more bytes were dealt with; True if the limit moved."""
        self._handled += size
        reachable = self._handled + self._size
        if reachable - self._limit < self._size // 4:
            return False
        self._limit = reachable
        return True


class TokenBucket:
    """At most `burst` at once and `rate` per second in the long run."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = now

    def take(self, now: float) -> bool:
        """True, and one fewer left, if one may pass now."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

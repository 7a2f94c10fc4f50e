"""How long to wait before the next attempt to reach the coordinator.

Doubles from half a second to ten, with jitter so that a thousand workers do not come back in one moment. A session
that lasted begins again at the start; one that did not is a failure like any other.
"""

from collections.abc import Callable

FIRST_S = 0.5
LONGEST_S = 10.0
LASTED_S = 5.0
"""Less than it takes to notice that a coordinator fell silent (8 s by default): one that is killed again and again, as
soon as its workers are back, costs them no longer a wait each time."""


class Backoff:
    def __init__(self, jitter: Callable[[], float]) -> None:
        """`jitter` returns numbers from 0 to 1."""
        self._jitter = jitter
        self._failures = 0

    def next_delay(self, session_s: float) -> float:
        """Seconds to wait now that a session has ended that was open for `session_s` seconds (0: never)."""
        if session_s >= LASTED_S:
            self._failures = 0
        longest: float = min(LONGEST_S, FIRST_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return longest * (0.5 + 0.5 * self._jitter())

"""When a runner counts as hung. Pure: the times of looks and whether it answered are given.

Promises: a runner that has answered and then does not for `silent_s` is hung; one that is only starting is given
longer; time in which this program itself did not run (the machine slept, somebody stopped it) is nobody's silence.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LivenessRules:
    every_s: float = 10.0
    """Between looks."""
    silent_s: float = 60.0
    starting_s: float = 300.0
    """Until its first answer: it looks at the machine and proves its sandbox before it can be asked."""


class Liveness:
    def __init__(self, rules: LivenessRules, now: float) -> None:
        """Args: `now` in monotonic seconds, as in `looked`."""
        self._rules, self._looked_at = rules, now
        self._silent_s, self._has_answered = 0.0, False

    def looked(self, now: float, *, answered: bool) -> bool:
        """Whether it is hung."""
        passed, self._looked_at = now - self._looked_at, now
        if answered:
            self._silent_s, self._has_answered = 0.0, True
            return False
        self._silent_s += min(passed, 2 * self._rules.every_s)
        return self._silent_s >= (self._rules.silent_s if self._has_answered else self._rules.starting_s)

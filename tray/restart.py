"""When a runner that ended is started again. Pure: how it ended and how long it ran are given.

Promises: a runner that was asked to end, or that says it cannot run, is left alone; one that crashes comes back, later
each time; one that only crashes is given up with a sentence saying so. A good long run forgives what was before it.
"""

from dataclasses import dataclass

REFUSED = 1
CANNOT_RUN = 2
"""Exit statuses of the runner that starting it again would not mend."""


@dataclass(frozen=True, slots=True)
class RestartRules:
    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    healthy_after_s: float = 60.0
    most_crashes: int = 6
    """In a row; then it is given up."""


@dataclass(frozen=True, slots=True)
class Again:
    delay_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    exit_code: int
    reason: str


class Restarts:
    def __init__(self, rules: RestartRules) -> None:
        self._rules = rules
        self._crashes = 0

    def ended(self, status: int, ran_for_s: float) -> Again | GiveUp:
        """Args: `status` as of `subprocess`: negative for a signal."""
        if status == 0:
            return GiveUp(0, "the worker ended")
        if status in (REFUSED, CANNOT_RUN):
            return GiveUp(status, "the worker cannot run; it said why above")
        if ran_for_s >= self._rules.healthy_after_s:
            self._crashes = 0
        self._crashes += 1
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        if self._crashes >= self._rules.most_crashes:
            return GiveUp(
                CANNOT_RUN,
                f"the worker crashed {self._crashes} times in a row (last: {how}); it is not started again."
                " See the log above, run `gogrid-worker doctor`, then start it anew.",
            )
        delay = min(self._rules.longest_delay_s, self._rules.first_delay_s * 2 ** (self._crashes - 1))
        return Again(delay, f"the worker {how}; starting it again in {delay:g} s")

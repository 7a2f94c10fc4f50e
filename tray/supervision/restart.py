"""When a runner that ended is started again. Pure: how it ended, how long it ran and its last word are given.

Promises: a runner that was asked to end, that has joined no coordinator, or that says it cannot run, is left alone; one
that crashes comes back, later each time; one that only crashes is given up with a sentence saying so. A good long run
forgives what was before it, and so does its owner, who starts it anew.
"""

from dataclasses import dataclass
from enum import Enum

from gogrid.worker_exit import WorkerExit

_SPEAKS = "gogrid-worker: "
"""How the line begins in which the runner says why it ends."""


class Phase(Enum):
    RUNS = "runs"
    WAITS = "waits"
    """It crashed and will be started again."""
    HELD = "held"
    """Somebody needs its folder for a moment."""
    NOT_JOINED = "not joined"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class Life:
    """How it is with the runner's process."""

    phase: Phase
    reason: str = ""
    """For people; empty while it runs."""
    exit_code: int = 0
    """For this program, if it ended because of this."""
    crashed: bool = False
    delay_s: float = 0.0
    """While it waits: how long."""


@dataclass(frozen=True, slots=True)
class RestartRules:
    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    healthy_after_s: float = 60.0
    most_crashes: int = 6
    """In a row; then it is given up."""


class Restarts:
    def __init__(self, rules: RestartRules) -> None:
        self._rules = rules
        self._crashes = 0

    def forgive(self) -> None:
        self._crashes = 0

    def ended(self, status: int, ran_for_s: float, last_line: str = "") -> Life:
        """Args: `status` as of `subprocess`: negative for a signal; `last_line` of what the runner wrote."""
        said = last_line.removeprefix(_SPEAKS) if last_line.startswith(_SPEAKS) else ""
        if status == WorkerExit.DONE:
            return Life(Phase.GIVEN_UP, "the worker ended")
        if status == WorkerExit.START_ANEW:
            return Life(Phase.WAITS, "the worker starts anew with its engine")
        if status == WorkerExit.NOT_JOINED:
            return Life(Phase.NOT_JOINED, "not joined to a coordinator yet", WorkerExit.NOT_JOINED)
        if status in (WorkerExit.TURNED_AWAY, WorkerExit.CANNOT_RUN):
            code = WorkerExit.REFUSED if status == WorkerExit.TURNED_AWAY else WorkerExit.CANNOT_RUN
            return Life(Phase.GIVEN_UP, said or "the worker cannot run; its log says why", code)
        return self._crashed(
            f"was killed by signal {-status}" if status < 0 else f"ended with status {status}", ran_for_s
        )

    def hung(self, ran_for_s: float) -> Life:
        """It did not answer any more and was ended."""
        return self._crashed("did not answer any more", ran_for_s)

    def _crashed(self, how: str, ran_for_s: float) -> Life:
        if ran_for_s >= self._rules.healthy_after_s:
            self._crashes = 0
        self._crashes += 1
        if self._crashes >= self._rules.most_crashes:
            return Life(
                Phase.GIVEN_UP,
                f"the worker crashed {self._crashes} times in a row (last: {how}); it is not started again."
                " See its log, run `gogrid-worker doctor`, then start it anew.",
                WorkerExit.CANNOT_RUN,
                crashed=True,
            )
        delay_s = min(self._rules.longest_delay_s, self._rules.first_delay_s * 2 ** (self._crashes - 1))
        reason = f"the worker {how}; starting it again in {delay_s:g} s"
        return Life(Phase.WAITS, reason, crashed=True, delay_s=delay_s)

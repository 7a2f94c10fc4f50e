"""Everything that keeps a worker from working, and which of it counts: its owner's pause, the gates, the admin's drain.

Promises: each is its own matter, so that ending one ends no other; all are told, the owner's first; a pause with an end
ends by itself. Pure: what follows is for `work.py` to do.
"""

import math
from dataclasses import dataclass
from typing import Literal

from gogrid.moments import shown_moment
from gogrid.protocol.worker_report import Readiness

LONGEST_REASON = 200
"""Characters of what an owner may say of a pause: it goes to the coordinator in one message with all else."""
LONGEST_PAUSE_S = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class OwnerPause:
    reason: str
    finish: bool = False
    """What runs may end here first."""
    until: float = 0.0
    """Unix seconds; 0: until its owner resumes."""

    def over(self, now: float) -> bool:
        """Args: now: Unix seconds."""
        return 0 < self.until <= now

    def why_not(self, now: float) -> str:
        """Why there can be no such pause, in words; empty: there can. Args: now: Unix seconds."""
        if len(self.reason) > LONGEST_REASON:
            return f"A reason may have {LONGEST_REASON} characters; give a shorter one."
        if self.until < 0 or self.over(now):
            return "That time is over already; give one that is to come."
        if not self.until <= now + LONGEST_PAUSE_S:  # what is no number, too
            return "A pause has to end within a year; give a time that is nearer, or none."
        return ""

    def tamed(self, now: float) -> "OwnerPause":
        """As it may be, where somebody wrote it down otherwise: without an end, and with its reason cut.

        Args:
            now: Unix seconds.
        """
        ends = math.isfinite(self.until) and 0 < self.until <= now + LONGEST_PAUSE_S
        return OwnerPause(self.reason[:LONGEST_REASON], self.finish, self.until if ends else 0.0)


class Holds:
    def __init__(self) -> None:
        self.pause: OwnerPause | None = None
        self.gates: tuple[str, ...] = ()
        """Why the gates are closed, in words; empty: they are open."""
        self.drained = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Each in words."""
        paused = (self.pause.reason,) if self.pause is not None else ()
        return (*paused, *self.gates, *((self.drained,) if self.drained else ()))

    @property
    def yielding(self) -> bool:
        """Whether the machine is its owner's alone now: nothing runs, is held in memory or is fetched."""
        return bool(self.gates) or (self.pause is not None and not self.pause.finish)

    @property
    def why(self) -> str:
        """Of yielding, as one sentence for whose work it was."""
        if self.pause is not None and not self.pause.finish:
            return f"The worker is {self.pause.reason}."
        return f"The worker has given its machine back: {'; '.join(self.gates)}."

    @property
    def order(self) -> Literal["", "pause", "finish"]:
        """What its owner asked for by hand."""
        if self.pause is None:
            return ""
        return "finish" if self.pause.finish else "pause"

    @property
    def paused_until(self) -> float:
        return self.pause.until if self.pause is not None else 0.0

    def readiness(self, standing: tuple[Readiness, str]) -> tuple[Readiness, str]:
        """Args: standing: what holds otherwise."""
        if standing[0] is not Readiness.READY or not self.reasons:
            return standing
        held = self.pause is not None or bool(self.gates)
        return (Readiness.PAUSED if held else Readiness.DRAINING), self.reasons[0]

    def told(self, reason: str) -> str:
        """A reason as others hear it: a pause with an end says when, on the clock of this machine."""
        if self.pause is None or not self.pause.until or reason != self.pause.reason:
            return reason
        return f"{reason} until {shown_moment(self.pause.until, '%a %H:%M')}"

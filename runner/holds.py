"""Everything that keeps a worker from working, and which of it counts: its owner's pause, the gates, the admin's drain.

Promises: each is its own matter, so that ending one ends no other; all are told, the owner's first; a pause with an end
ends by itself. Pure: what follows is for `work.py` to do.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from gogrid.protocol.messages import Readiness


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
        return f"{reason} until {datetime.fromtimestamp(self.pause.until):%a %H:%M}"

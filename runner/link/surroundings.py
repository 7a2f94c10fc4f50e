"""Has this machine slept, or moved to another network? A core: what was seen goes in, what to do about it comes out.

A link does not notice either by itself: its timers slept too, and its socket goes on sending from an address that is
gone.
"""

from enum import Enum

GONE_S = 20.0
"""After sleeping for this long the coordinator has dropped the connection."""
SLEPT_S = 5.0
"""A look that comes this much too late means that the machine slept, or that this process did."""


class Advice(Enum):
    NOTHING = "nothing"
    ASK = "ask"
    """The connection may be dead: ask the coordinator now, and give it little time."""
    REDIAL = "redial"
    """The connection is dead, or there is none and now is a good time."""


class Surroundings:
    def __init__(self) -> None:
        self._looked_at: float | None = None
        self._source = ""
        self._was_cut_off = False

    def look(self, now: float, source: str | None, every_s: float) -> tuple[Advice, str]:
        """What to do, and why in words.

        Args:
            now: seconds on a clock that goes on while the machine sleeps.
            source: the local address from which the coordinator would be reached; empty if there is no way to it, None
                if it is not known yet where that is.
            every_s: how long after the last look this one was meant to come.
        """
        late = 0.0 if self._looked_at is None else now - self._looked_at - every_s
        self._looked_at = now
        moved = bool(source and self._source and source != self._source)
        back = bool(source) and self._was_cut_off
        self._was_cut_off = source == ""
        self._source = source or self._source
        if moved:
            return Advice.REDIAL, f"this machine's address is {source} now"
        if late >= GONE_S:
            return Advice.REDIAL, f"this machine slept for {late:.0f} s"
        if late >= SLEPT_S:
            return Advice.ASK, f"this machine slept for {late:.0f} s"
        if back:
            return Advice.ASK, "the network is back"
        return Advice.NOTHING, ""

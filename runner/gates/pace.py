"""How often the gates look: often while there is something to give back, seldom while there is not."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two looks."""

    owner_s: float
    machine_s: float


WORKING = Pace(0.2, 2.0)
"""Something runs, is loaded or on its way."""
HELD = Pace(1.0, 2.0)
RESTING = Pace(2.0, 5.0)


def pace(*, held: bool, busy: bool) -> Pace:
    """Args: busy: the machine's owner would notice what the worker does or holds."""
    if busy:
        return WORKING
    return HELD if held else RESTING

"""When a machine asks for updates. Pure: the wall clock and a random number are given.

Promises: first a moment after the start, then once a day, spread so that a thousand machines do not ask together; after
a failure sooner, but later each time. A machine that slept asks when it wakes; a clock that was set back keeps nobody
waiting for longer than a day.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rhythm:
    """In seconds."""

    first_s: float = 5.0
    every_s: float = 86400.0
    jitter: float = 0.1
    """Share of a time by which it is longer or shorter."""
    retry_first_s: float = 60.0
    retry_longest_s: float = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of one run of the program."""

    next_at: float
    """Seconds since 1970."""
    set_at: float
    failures: int = 0
    """In a row."""


def started(now: float, rhythm: Rhythm) -> Schedule:
    return Schedule(now + rhythm.first_s, now)


def due(schedule: Schedule, now: float) -> bool:
    return now >= schedule.next_at or now < schedule.set_at


def asked(schedule: Schedule, now: float, rhythm: Rhythm, roll: float, *, failed: bool) -> Schedule:
    """After a check.

    Args:
        roll: random, 0 to 1.
    """
    failures = schedule.failures + 1 if failed else 0
    delay = min(rhythm.retry_longest_s, rhythm.retry_first_s * 2 ** min(failures - 1, 32)) if failed else rhythm.every_s
    return Schedule(now + delay * (1 + rhythm.jitter * (2 * roll - 1)), now, failures)


def asked_by_hand(schedule: Schedule, now: float) -> Schedule:
    """Somebody wants to know at once."""
    return Schedule(now, now, schedule.failures)

"""When a pause ends: from an owner's words and the time of day here. Pure.

Refuses what is past, and what is further away than a year.
"""

import re
from datetime import datetime, timedelta

from gogrid.sizes import parse_duration

_MORNING = 8
_NIGHT = timedelta(hours=4)
_LONGEST = timedelta(days=366)
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")


def until_tomorrow(now: datetime) -> datetime:
    """The next eight o'clock in the morning that is at least four hours away."""
    morning = now.replace(hour=_MORNING, minute=0, second=0, microsecond=0)
    return morning if morning - now >= _NIGHT else morning + timedelta(days=1)


def until(words: str, now: datetime) -> datetime:
    """From `tomorrow`, a time of day such as `18:00` (the next one), or a date with a time.

    Args:
        now: local time, naive.

    Raises:
        ValueError: says what is allowed.
    """
    allowed = "tomorrow, a time of day such as 18:00, or a date such as 2027-01-31T08:00"
    text = words.strip().lower()
    if text == "tomorrow":
        return until_tomorrow(now)
    if (clock := _CLOCK.fullmatch(text)) is not None:
        at = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        return at if at > now else at + timedelta(days=1)
    try:
        at = datetime.fromisoformat(words.strip())
    except ValueError:
        raise ValueError(allowed) from None
    at = at if at.tzinfo is None else at.astimezone().replace(tzinfo=None)
    if not now < at <= now + _LONGEST:
        raise ValueError(f"{allowed}; it has to be within the next year")
    return at


def after(words: str, now: datetime) -> datetime:
    """From a duration such as `90m`, `1h` or `2d`. Raises `ValueError` saying what is allowed."""
    allowed = ValueError("a duration such as 30m, 1h or 2d, up to a year")
    try:
        seconds = parse_duration(words)
    except ValueError:
        raise allowed from None
    if not 0 < seconds <= _LONGEST.total_seconds():
        raise allowed
    return now + timedelta(seconds=seconds)

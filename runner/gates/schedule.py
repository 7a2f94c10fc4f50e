"""The hours in which a worker may work: `mon-fri 18:00-08:00`, by the clock on its owner's wall.

Promises: only the wall clock's weekday, hour and minute count, so that a switch to or from summer time moves nothing;
hours that go past midnight belong to the day on which they begin; no hours at all mean always.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_ENTRY = re.compile(
    r"\s*(?:(?P<days>[a-z]{3}(?:\s*[-,]\s*[a-z]{3})*)\s+)?"
    r"(?P<begin>[0-9]{1,2}:[0-9]{2})\s*-\s*(?P<end>[0-9]{1,2}:[0-9]{2})\s*(?:[;,]|$)",
    re.IGNORECASE,
)
_ALLOWED = "hours such as mon-fri 18:00-08:00 or sat,sun 00:00-24:00, several of them with ; between"


@dataclass(frozen=True, slots=True)
class Hours:
    """On some days, from one minute of the day to another; past midnight where the end is not after the begin."""

    days: frozenset[int]
    """0: Monday."""
    begin: int
    end: int
    """Minutes since midnight, 0 to 1440."""

    def hold(self, weekday: int, minute: int) -> bool:
        if self.begin < self.end:
            return weekday in self.days and self.begin <= minute < self.end
        yesterday = (weekday - 1) % 7
        return (weekday in self.days and minute >= self.begin) or (yesterday in self.days and minute < self.end)

    def __str__(self) -> str:
        days = ",".join(DAYS[day] for day in sorted(self.days))
        return f"{'' if len(self.days) == len(DAYS) else days + ' '}{_clock(self.begin)}-{_clock(self.end)}"


def parse_schedule(value: object) -> tuple[Hours, ...]:
    """From one text, or a TOML list of texts.

    Raises:
        ValueError: says what is allowed.
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise ValueError(_ALLOWED)
    found: list[Hours] = []
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(_ALLOWED)
        found += _entries(text)
    return tuple(found)


def open_now(hours: Iterable[Hours], local: datetime) -> bool:
    """Args: local: the time on the wall, without a zone."""
    given = tuple(hours)
    return not given or any(one.hold(local.weekday(), local.hour * 60 + local.minute) for one in given)


def next_opening(hours: Iterable[Hours], local: datetime) -> str:
    """When they begin next, as people say it: `18:00`, or `Mon 18:00` if that is a day or more away."""
    given = tuple(hours)
    begins = {(day, one.begin) for one in given for day in one.days}
    today = local.replace(hour=0, minute=0, second=0, microsecond=0)
    for ahead in range(8):
        date = today + timedelta(days=ahead)
        for minute in sorted(begin for day, begin in begins if day == date.weekday()):
            at = date + timedelta(minutes=minute)
            if at > local and open_now(given, at):
                far = at - local >= timedelta(days=1)
                return f"{DAYS[at.weekday()].capitalize()} {at:%H:%M}" if far else f"{at:%H:%M}"
    return ""


def _entries(text: str) -> list[Hours]:
    found, place = [], 0
    while place < len(text.rstrip()):
        match = _ENTRY.match(text, place)
        if match is None:
            raise ValueError(_ALLOWED)
        begin, end = _minute(match["begin"]), _minute(match["end"])
        if begin in (end, _DAY_MINUTES):
            raise ValueError(_ALLOWED)
        found.append(Hours(_days(match["days"]), begin, end))
        place = match.end()
    return found


def _days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.lower().replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(_ALLOWED)
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    return frozenset(found)


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    if int(minute) > 59 or int(hour) * 60 + int(minute) > _DAY_MINUTES:
        raise ValueError(_ALLOWED)
    return int(hour) * 60 + int(minute)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"

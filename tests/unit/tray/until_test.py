"""An owner's words for when a pause ends."""

from datetime import datetime, timedelta

import pytest

from tray.until import after, until, until_tomorrow

EVENING = datetime(2026, 11, 22, 22, 30)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        (EVENING, datetime(2026, 11, 23, 8)),
        (datetime(2026, 11, 22, 9), datetime(2026, 11, 23, 8)),
        (datetime(2026, 11, 23, 1), datetime(2026, 11, 23, 8)),
        (datetime(2026, 11, 23, 5), datetime(2026, 11, 24, 8)),
    ],
)
def test_tomorrow_is_the_next_morning_after_a_night(now: datetime, end: datetime) -> None:
    assert until_tomorrow(now) == until("tomorrow", now) == end


def test_a_time_of_day_is_the_next_one() -> None:
    assert until("23:00", EVENING) == datetime(2026, 11, 22, 23)
    assert until("18:00", EVENING) == datetime(2026, 11, 23, 18)
    assert until("22:30", EVENING) == EVENING + timedelta(days=1)
    assert until("2026-12-24T18:00", EVENING) == datetime(2026, 12, 24, 18)


def test_a_date_with_a_time_zone_is_understood_too() -> None:
    at = (EVENING + timedelta(hours=2)).astimezone()
    assert until(at.isoformat(), EVENING) == EVENING + timedelta(hours=2)


@pytest.mark.parametrize("words", ["", "never", "25:00", "2026-11-22T22:00", "2031-01-01T00:00", "18", "18:00x"])
def test_what_is_past_too_far_or_not_understood_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="tomorrow, a time of day such as 18:00"):
        until(words, EVENING)


def test_how_long() -> None:
    assert after("90m", EVENING) == EVENING + timedelta(minutes=90)
    for words in ("0", "soon", "9999d", "-1h"):
        with pytest.raises(ValueError, match="a duration such as"):
            after(words, EVENING)

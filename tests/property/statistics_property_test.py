"""Rolling up conserves: whatever happens and whenever it is asked, minutes, quarters and hours say the same."""

from hypothesis import given
from hypothesis import strategies as st

from runner.statistics.history import History, Step

BEGIN = 497_000 * 3600.0
steps = st.builds(
    Step,
    jobs_done=st.integers(0, 5),
    jobs_failed=st.integers(0, 5),
    tokens=st.integers(0, 10**6),
    cpu_s=st.floats(0, 60),
    memory=st.integers(0, 2**40),
)


@given(st.lists(st.tuples(st.integers(1, 60), steps), max_size=40))
def test_totals_are_conserved_by_roll_up(happened: list[tuple[int, Step]]) -> None:
    history = History()
    for minute, step in happened:  # in any order: also what a clock that jumps within the hour does
        history.add(BEGIN + 60 * minute, step)
    end = BEGIN + 3600
    hour, day, week = (history.statistics(span, end, Step()) for span in ("hour", "day", "week"))
    for name in ("jobs_done", "jobs_failed", "tokens"):
        total = sum(getattr(step, name) for _, step in happened)
        assert getattr(hour, name) == getattr(day, name) == getattr(week, name) == total
        assert sum(getattr(sample, name) for sample in day.samples[-4:]) == total
        assert getattr(week.samples[-1], name) == total
    assert max(sample.memory for sample in hour.samples) == week.samples[-1].memory


@given(st.lists(st.tuples(st.integers(1, 5000), steps), max_size=30))
def test_what_is_read_back_says_the_same(happened: list[tuple[int, Step]]) -> None:
    history = History()
    for minute, step in happened:
        history.add(BEGIN + 60 * minute, step)
    again = History(history.rows())
    end = BEGIN + 5000 * 60
    assert all(
        again.statistics(span, end, Step()) == history.statistics(span, end, Step()) for span in ("hour", "day", "week")
    )


@given(st.lists(st.floats(0, 4e9), max_size=30), st.floats(0, 4e9))
def test_no_clock_makes_it_fail_or_grow(times: list[float], asked: float) -> None:
    history = History()
    for now in times:
        history.add(now, Step(jobs_done=1))
    assert len(history.rows()) <= 2 * (61 + 97 + 169)
    for span, count in (("hour", 60), ("day", 96), ("week", 168)):
        assert len(history.statistics(span, asked, Step()).samples) == count

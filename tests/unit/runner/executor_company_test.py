"""An idle engine waits for those that were there before, for a moment, and never for anybody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogrid.protocol.worker_report import DeviceKind
from runner.executor.company import NONE, Company, Patience, patience_of

PATIENCE = Patience(longest_s=0.03, silence_s=0.008)


def crowd(size: int) -> Company:
    """It has just served so many at once, and is idle."""
    company = Company(PATIENCE)
    for number in range(size):
        company.came(0.0, first=number == 0)
    assert company.pause(size, 0.0) == 0.0
    return company


def test_who_has_been_alone_waits_for_nobody() -> None:
    company = Company(PATIENCE)
    for second in range(3):
        company.came(float(second), first=True)
        assert company.pause(1, float(second)) == 0.0


def test_as_many_as_before_are_waited_for_and_not_a_moment_longer() -> None:
    company = crowd(3)
    company.came(9.0, first=True)
    assert company.pause(1, 9.0) == pytest.approx(0.008)
    company.came(9.004, first=False)
    assert company.pause(2, 9.004) == pytest.approx(0.008)
    company.came(9.005, first=False)
    assert company.pause(3, 9.005) == 0.0


def test_silence_ends_the_waiting_for_those_who_do_not_come_back() -> None:
    company = crowd(16)
    company.came(9.0, first=True)
    assert company.pause(1, 9.008) == 0.0
    assert company.pause(1, 9.0081) == 0.0


def test_a_user_who_comes_alone_after_a_crowd_waits_once() -> None:
    company = crowd(16)
    company.came(9.0, first=True)
    assert company.pause(1, 9.0) > 0
    assert company.pause(1, 9.01) == 0.0
    company.came(10.0, first=True)
    assert company.pause(1, 10.0) == 0.0


def test_an_engine_that_works_never_waits_for_those_who_join() -> None:
    company = crowd(4)
    company.came(9.0, first=True)
    assert company.pause(1, 9.01) == 0.0
    company.came(9.012, first=False)
    assert company.pause(2, 9.012) == 0.0


@given(st.lists(st.floats(0, 0.02), max_size=40), st.integers(2, 40))
def test_nobody_ever_waits_longer_than_the_longest(gaps: list[float], before: int) -> None:
    company = crowd(before)
    now, waited, held = 9.0, 0.0, 1
    company.came(now, first=True)
    for gap in gaps:
        pause = company.pause(held, now)
        if not pause:
            break
        waited += min(gap, pause)
        now += min(gap, pause)
        if gap < pause:
            held += 1
            company.came(now, first=False)
    assert waited <= PATIENCE.longest_s + 1e-9


def test_an_engine_that_computes_nothing_waits_for_nobody() -> None:
    assert patience_of("echo", DeviceKind.CPU) == NONE
    company = Company(NONE)
    for number in range(4):
        company.came(0.0, first=number == 0)
    assert company.pause(4, 0.0) == 0.0
    company.came(1.0, first=True)
    assert company.pause(1, 1.0) == 0.0

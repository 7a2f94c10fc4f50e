"""Which copy runs: a new version is on trial, a bad one makes room, and nothing unsafe is gone back to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.update_publisher import fresh
from updates.client.boot import Pace
from updates.client.probation import PROBATION_S, Ended, after, chosen, on_trial, plan, speaks, tried
from updates.trust.trusted_state import TrustedState, proved, switched

OLD, NEW = 5, 6
HERE = frozenset({NEW})


def good_old() -> TrustedState:
    return proved(switched(fresh(), OLD))


def on_new(**fields: object) -> TrustedState:
    state = plan(switched(good_old(), NEW), OLD, HERE).state
    return fresh(**{name: getattr(state, name) for name in ("installed", "trial", "starting", "last_good")} | fields)


def test_without_updates_the_installers_copy_runs():
    assert plan(fresh(), OLD, frozenset()).seq == OLD


def test_a_version_that_was_switched_to_is_watched_and_one_that_proved_itself_is_not():
    state = switched(good_old(), NEW)
    assert (plan(state, OLD, HERE).seq, plan(state, OLD, HERE).watched) == (NEW, True)
    assert (plan(proved(state), OLD, HERE).seq, plan(proved(state), OLD, HERE).watched) == (NEW, False)


def test_a_crash_is_tried_once_more_and_the_second_brings_the_old_one_back_for_good():
    first = plan(switched(good_old(), NEW), OLD, HERE)
    second = after(Ended.CRASHED, first.state, OLD, HERE)
    assert (second.seq, second.watched, second.given_up) == (NEW, True, 0)
    third = after(Ended.CRASHED, second.state, OLD, HERE)
    assert (third.seq, third.watched, third.given_up) == (OLD, False, NEW)
    assert third.state.failed == (NEW,)
    assert plan(third.state, OLD, HERE).seq == OLD
    assert plan(switched(third.state, NEW), OLD, HERE).seq == OLD


def test_one_that_is_too_late_makes_room_at_once_and_is_given_up_the_second_time():
    first = after(Ended.TOO_LATE, on_new(), OLD, HERE)
    assert (first.seq, first.state.failed) == (OLD, ())
    again = plan(switched(first.state, NEW), OLD, HERE)
    assert again.watched
    second = after(Ended.TOO_LATE, again.state, OLD, HERE)
    assert (second.seq, second.state.failed) == (OLD, (NEW,))


def test_that_the_old_one_works_again_does_not_forgive_the_new_one():
    back = after(Ended.TOO_LATE, on_new(), OLD, HERE).state
    assert proved(back).failed_starts == 1


def test_a_start_whose_end_nobody_saw_counts_as_failed():
    once = plan(on_new(), OLD, HERE)
    assert (once.seq, once.state.failed_starts) == (NEW, 1)
    twice = plan(once.state, OLD, HERE)
    assert (twice.seq, twice.state.failed) == (OLD, (NEW,))


def test_being_asked_to_end_says_nothing_about_a_version():
    state = on_new()
    for _ in range(5):
        again = after(Ended.ASKED, state, OLD, HERE)
        assert (again.seq, again.state.failed_starts) == (NEW, 0)
        state = again.state


def test_below_the_security_floor_is_not_gone_back_to():
    stuck = after(Ended.TOO_LATE, on_new(security_floor=NEW), OLD, HERE)
    assert stuck.seq == NEW


@pytest.mark.parametrize("worse", [{"revoked": (OLD,)}, {"failed": (OLD,)}])
def test_what_was_revoked_or_failed_is_not_gone_back_to(worse: dict[str, object]):
    assert after(Ended.TOO_LATE, on_new(**worse), OLD, HERE).seq == NEW


def test_a_version_that_is_not_there_is_not_started():
    assert plan(switched(good_old(), NEW), OLD, frozenset()).seq == OLD


def test_a_newer_installers_copy_wins_over_what_was_updated():
    state = proved(switched(good_old(), NEW))
    assert plan(state, 9, HERE).seq == 9
    assert plan(state, 9, HERE).state.installed == 9


def test_the_one_before_is_gone_back_to_when_the_last_good_one_is_away():
    state = switched(proved(switched(proved(switched(good_old(), NEW)), 7)), 8)
    started = plan(state, OLD, frozenset({6, 8})).state
    assert after(Ended.TOO_LATE, started, OLD, frozenset({6, 8})).seq == 6


def test_who_only_speaks_with_what_runs_decides_nothing():
    assert chosen(on_new(), OLD, HERE) == NEW
    assert chosen(on_new(failed=(NEW,)), OLD, HERE) == OLD


def test_a_command_does_not_fail_with_a_version_on_trial_that_only_crashes():
    assert speaks(fresh(), OLD, frozenset()) == OLD
    assert speaks(on_new(), OLD, HERE) == OLD
    assert speaks(proved(on_new()), OLD, HERE) == NEW
    next_one = switched(proved(on_new()), 7)
    assert speaks(next_one, OLD, frozenset({NEW, 7})) == NEW
    assert speaks(next_one, OLD, frozenset({7})) == OLD, "the good one is away"


def test_a_version_is_being_tried_from_its_start_until_it_is_known_what_comes_of_it():
    assert not tried(switched(good_old(), NEW))
    assert tried(on_new())
    assert tried(after(Ended.CRASHED, on_new(), OLD, HERE).state), "the second time"
    assert not tried(after(Ended.TOO_LATE, on_new(), OLD, HERE).state)
    assert not tried(proved(on_new()))


SEQS = st.integers(0, 9)


@given(
    st.builds(
        fresh,
        installed=SEQS,
        last_good=SEQS,
        before_good=SEQS,
        trial=SEQS,
        failed=st.lists(st.integers(1, 9), max_size=4, unique=True).map(tuple),
        revoked=st.lists(st.integers(1, 9), max_size=3, unique=True).map(tuple),
        failed_starts=st.integers(0, 1),
        starting=st.booleans(),
        security_floor=SEQS,
    ),
    st.integers(1, 9),
    st.frozensets(st.integers(1, 9)),
    st.sampled_from([None, *Ended]),
)
def test_whatever_happened_something_that_is_there_starts_and_nothing_unsafe_is_gone_back_to(
    state: TrustedState, own: int, present: frozenset[int], ended: Ended | None
):
    made = plan(state, own, present) if ended is None else after(ended, state, own, present)
    assert made.seq == own or (made.seq > own and made.seq in present)
    assert made.state.installed == made.seq
    assert made.watched == (made.state.starting and made.seq != own)
    left_for_another = made.seq not in (state.installed, own)
    if left_for_another:
        assert made.seq >= state.security_floor
        assert made.seq not in made.state.failed
        assert made.seq not in state.revoked
    assert not made.watched or on_trial(made.state)


def test_a_new_version_has_two_minutes_to_reach_its_coordinator():
    assert Pace().probation_s == PROBATION_S == 120.0


def test_a_version_that_only_crashes_is_started_twice_in_a_row_at_most():
    step, starts = plan(switched(good_old(), NEW), OLD, HERE), 0
    while step.seq == NEW and starts < 10:
        starts += 1
        step = after(Ended.CRASHED, step.state, OLD, HERE)
    assert (starts, step.seq) == (2, OLD)

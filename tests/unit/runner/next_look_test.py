"""Whoever goes over a cap is found over twice within a second, however seldom the guard looks at who is far from it."""

from runner.sandbox.memory_watch import SAMPLE_EVERY_S
from runner.serving.next_look import SELDOM_S, next_look_s

CAP = 1000


def test_a_model_far_from_the_cap_is_looked_at_seldom_and_still_killed_within_a_second_of_overshoot() -> None:
    seldom = next_look_s(used=CAP // 2 - 1, cap=CAP, hasty=False)
    assert seldom == SELDOM_S > SAMPLE_EVERY_S
    assert seldom + next_look_s(used=CAP + 1, cap=CAP, hasty=False) < 1.0


def test_from_half_of_the_cap_on_nobody_waits_for_a_look() -> None:
    assert next_look_s(used=CAP // 2, cap=CAP, hasty=False) == SAMPLE_EVERY_S


def test_who_can_fill_a_cap_at_a_stroke_is_looked_at_often_however_little_is_held() -> None:
    assert next_look_s(used=0, cap=CAP, hasty=True) == SAMPLE_EVERY_S


def test_where_nothing_is_lent_any_more_what_is_still_held_is_looked_at_often() -> None:
    assert next_look_s(used=0, cap=0, hasty=False) == SAMPLE_EVERY_S

"""How long a worker waits before it tries again."""

from __future__ import annotations

from coordinator.config import PING, PING_TIMEOUT
from runner.link.backoff import FIRST_S, Backoff


def test_delays_double_to_ten_seconds_and_no_more() -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.next_delay(0.0) for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_jitter_spreads_a_herd_over_half_of_the_delay() -> None:
    assert Backoff(lambda: 0.0).next_delay(0.0) == 0.25
    assert Backoff(lambda: 0.5).next_delay(0.0) == 0.375


def test_a_session_that_lasted_begins_again_and_a_short_one_does_not() -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(5):
        backoff.next_delay(0.0)
    assert backoff.next_delay(3.0) == 10.0
    assert backoff.next_delay(60.0) == 0.5


def test_a_coordinator_that_dies_as_soon_as_its_workers_are_back_costs_no_longer_a_wait_each_time() -> None:
    backoff, noticed_s = Backoff(lambda: 1.0), PING.default + PING_TIMEOUT.default
    assert [backoff.next_delay(noticed_s) for _ in range(8)] == [FIRST_S] * 8

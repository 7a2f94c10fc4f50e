"""The timer of a connection: never too late, seldom too early, seldom moved."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from gogrid.quic.timer import LazyTimer


class Clock:
    """The part of an event loop that timers use, writing down what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.cancelled = 0

    def call_at(self, at: float, callback: object) -> Clock:
        self.asked.append(at)
        return self

    def cancel(self) -> None:
        self.cancelled += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timer(clock: Clock) -> LazyTimer:
    return LazyTimer(cast(asyncio.AbstractEventLoop, clock), lambda: None)


def test_a_deadline_that_is_little_later_moves_nothing(timer: LazyTimer, clock: Clock) -> None:
    for at in (1.0, 1.001, 1.01, 1.005, 1.0):
        timer.need_by(at)
    assert clock.asked == [1.0]
    assert clock.cancelled == 0


def test_a_deadline_that_is_much_later_is_no_reason_to_wake_before(timer: LazyTimer, clock: Clock) -> None:
    for at in (1.0, 1.2):
        timer.need_by(at)
    assert clock.asked == [1.0, 1.2]
    assert clock.cancelled == 1


def test_an_earlier_deadline_is_kept(timer: LazyTimer, clock: Clock) -> None:
    for at in (1.0, 0.999):
        timer.need_by(at)
    assert clock.asked == [1.0, 0.999]
    assert clock.cancelled == 1


def test_thousands_of_deadlines_that_grow_with_every_packet_move_the_timer_a_few_times(
    timer: LazyTimer, clock: Clock
) -> None:
    for packet in range(5000):
        timer.need_by(1.0 + packet / 5000)
    assert len(clock.asked) <= 51

"""When a version that lies ready starts without a click: never at the wrong moment, and never never."""

from dataclasses import replace

import pytest

from tray.updating.ripeness import ReadyVersion, Waits, next_look_s, ripe

WAITS = Waits()
READY = ReadyVersion(waited_s=0.0)


def switches(
    ready: ReadyVersion = READY,
    *,
    proved: bool = True,
    reached: bool = True,
    attended: bool = False,
    busy: bool = False,
) -> bool:
    return ripe(ready, WAITS, proved=proved, reached=reached, attended=attended, busy=busy)


def test_a_machine_that_nobody_watches_switches_as_soon_as_nothing_runs() -> None:
    assert switches()
    assert not switches(busy=True)


@pytest.mark.parametrize("urgent", [False, True], ids=["ordinary", "urgent"])
def test_a_new_version_that_could_not_reach_its_coordinator_is_not_started(urgent: bool) -> None:
    assert not switches(replace(READY, urgent=urgent), reached=False)


def test_a_version_on_trial_makes_no_room_for_another() -> None:
    assert not switches(proved=False)


def test_a_machine_that_always_works_is_not_waited_for_for_ever() -> None:
    assert not switches(ReadyVersion(WAITS.unattended - 1), busy=True)
    assert switches(ReadyVersion(WAITS.unattended), busy=True)


def test_an_owner_with_an_icon_decides_however_long_it_takes() -> None:
    assert not switches(ReadyVersion(100 * WAITS.unattended), attended=True)


@pytest.mark.parametrize(
    "ready",
    [ReadyVersion(0.0, urgent=True), ReadyVersion(0.0, found_at_start=True)],
    ids=["unsafe now", "ready since the start"],
)
def test_what_may_not_wait_for_a_click_does_not(ready: ReadyVersion) -> None:
    assert switches(ready, attended=True)


def test_a_version_that_failed_here_is_not_tried_again_at_once() -> None:
    assert not switches(ReadyVersion(WAITS.after_failure - 1, failed_once=True))
    assert switches(ReadyVersion(WAITS.after_failure, failed_once=True))


def look_s(
    *, proved: bool = True, runs_for_s: float = 0.0, ready: bool = False, attended: bool = False, due_s: float = 0.0
) -> float:
    return next_look_s(
        WAITS, proved=proved, runs_for_s=runs_for_s, anything_ready=ready, attended=attended, check_in_s=due_s
    )


def test_an_idle_machine_is_looked_at_seldom_and_a_new_version_on_trial_often() -> None:
    assert look_s(due_s=86400.0) == WAITS.idle
    assert look_s(due_s=86400.0, ready=True) == WAITS.soon
    assert look_s(due_s=86400.0, ready=True, attended=True) == WAITS.idle
    assert look_s(due_s=86400.0, proved=False) == WAITS.look
    assert look_s(due_s=86400.0, proved=False, runs_for_s=3600.0) == WAITS.idle


def test_a_check_that_is_overdue_does_not_spin() -> None:
    assert look_s(due_s=-1000.0) == WAITS.look

"""What silence means while somebody waits for a worker's answers; in virtual time, at both ends of a session."""

from __future__ import annotations

import pytest

from gogrid.ids import JobId, Sha256
from gogrid.protocol.job_messages import FailCode, Failed, Finished, TextDone, Tokens
from gogrid.protocol.messages import Assign, Cancel, HeartbeatAck, LeaseHeld, Refuse
from gogrid.protocol.session import KEEP_ALIVE_S, Nudge, Suspected
from gogrid.protocol.tasks import ChatTask, ModelRef, Sampling
from tests.fakes.session_pair import Pair

JOB = JobId("job_1")
TASK = ChatTask(model=ModelRef(name="m", digest=Sha256("a" * 64)), messages=(), sampling=Sampling())
DONE = Finished(result=TextDone(finish_reason="stop", prompt_tokens=1, completion_tokens=1))
STREAM = 2


def assigned(*, durable: bool = False, epoch: int = 1) -> Pair:
    pair = Pair().open()
    pair.coordinator.send(Assign(job_id=JOB, epoch=epoch, task=TASK, durable=durable), pair.now)
    pair.run()
    return pair


def suspicions(pair: Pair) -> list[bool]:
    return [event.silent for event in pair.coordinator_events if isinstance(event, Suspected)]


def nudges(pair: Pair) -> int:
    return sum(isinstance(output, Nudge) for output in pair.to_coordinator)


def silence(pair: Pair, seconds: float) -> None:
    """The coordinator alone goes on: nothing comes from the worker, and what it is told is lost."""
    end = pair.now + seconds
    while (at := pair.coordinator.next_deadline()) is not None and at <= end:
        pair.now = at
        pair.coordinator_events += pair.coordinator.on_deadline(at)
        pair.coordinator.take_outputs()
    pair.now = end


# --- the worker is heard


def test_a_worker_that_thinks_for_long_is_heard_all_the_time() -> None:
    pair = assigned()
    pair.pass_time(60.0)
    assert suspicions(pair) == []
    assert nudges(pair) == pytest.approx(60.0 / KEEP_ALIVE_S, abs=12)


def test_tokens_that_flow_are_word_enough() -> None:
    pair = assigned()
    pair.worker.open_job(STREAM, JOB, 1)
    for seq in range(100):
        pair.worker.send_job(STREAM, Tokens(seq=seq, text="a", token_ids=(1,)))
        pair.pass_time(0.05)
    assert nudges(pair) == 0
    assert suspicions(pair) == []


def finish(pair: Pair) -> None:
    pair.worker.open_job(STREAM, JOB, 1)
    pair.worker.send_job(STREAM, DONE)


def fail(pair: Pair) -> None:
    pair.worker.open_job(STREAM, JOB, 1)
    pair.worker.send_job(STREAM, Failed(code=FailCode.CRASHED, message="gone"))


def abandon(pair: Pair) -> None:
    pair.worker.open_job(STREAM, JOB, 1)
    pair.worker.abandon_job(STREAM)


def refuse(pair: Pair) -> None:
    pair.worker.send(Refuse(job_id=JOB, epoch=1, reason="full"))


def cancel(pair: Pair) -> None:
    pair.coordinator.send(Cancel(job_id=JOB, epoch=1, reason="gone"), pair.now)


def take_away(pair: Pair) -> None:
    pair.coordinator.send(HeartbeatAck(seq=1, lost=(LeaseHeld(job_id=JOB, epoch=1),)), pair.now)


@pytest.mark.parametrize("end", [finish, fail, abandon, refuse, cancel, take_away])
def test_once_nobody_waits_any_more_both_ends_are_quiet_again(end) -> None:
    pair = assigned()
    end(pair)
    pair.run()
    pair.to_coordinator.clear()
    pair.pass_time(30.0)
    assert nudges(pair) == 0
    assert suspicions(pair) == []
    silence(pair, 4.0)
    assert suspicions(pair) == []


def test_the_end_of_an_older_lease_does_not_end_the_watch_over_the_newer() -> None:
    pair = assigned(epoch=2)
    pair.coordinator.send(Cancel(job_id=JOB, epoch=1, reason="late"), pair.now)
    pair.run()
    silence(pair, 1.0)
    assert suspicions(pair) == [True]


def test_a_durable_job_keeps_the_quiet_rhythm() -> None:
    pair = assigned(durable=True)
    pair.pass_time(30.0)
    assert nudges(pair) == 0
    silence(pair, 4.0)
    assert suspicions(pair) == []


# --- the worker is not heard


def test_a_worker_that_falls_silent_is_suspected_after_one_second_and_not_before() -> None:
    pair = assigned()
    silence(pair, 0.99)
    assert suspicions(pair) == []
    silence(pair, 0.011)
    assert suspicions(pair) == [True]


def test_a_quiet_worker_that_was_just_asked_something_gets_a_whole_second() -> None:
    pair = Pair().open()
    silence(pair, 3.4)
    pair.coordinator.send(Assign(job_id=JOB, epoch=1, task=TASK), pair.now)
    silence(pair, 0.99)
    assert suspicions(pair) == []
    silence(pair, 0.02)
    assert suspicions(pair) == [True]


def test_a_far_away_worker_gets_the_time_its_first_word_takes() -> None:
    """750 ms there and back, and the assignment is lost once: its first word comes after some two seconds."""
    pair = Pair().open()
    pair.coordinator.send(Assign(job_id=JOB, epoch=1, task=TASK), pair.now, 0.75)
    silence(pair, 3.0)
    assert suspicions(pair) == []
    silence(pair, 0.3)
    assert suspicions(pair) == [True]


@pytest.mark.parametrize("late", [0.1, 0.375, 0.7])
def test_heartbeats_that_all_come_late_are_as_good_as_any(late: float) -> None:
    """What counts is their rhythm: a long way delays each of them alike, and one in two may be lost."""
    pair = assigned()
    silence(pair, late)
    for _ in range(50):
        pair.coordinator_events += pair.coordinator.heard(pair.now)
        silence(pair, 2 * KEEP_ALIVE_S)
    assert suspicions(pair) == []


def test_any_packet_clears_the_suspicion() -> None:
    pair = assigned()
    silence(pair, 1.5)
    assert pair.coordinator.suspects
    pair.coordinator_events += pair.coordinator.heard(pair.now)
    assert suspicions(pair) == [True, False]
    assert not pair.coordinator.suspects


def test_a_packet_from_before_the_silence_clears_nothing() -> None:
    pair = assigned()
    before = pair.now
    silence(pair, 1.5)
    assert pair.coordinator.heard(before) == []
    assert pair.coordinator.suspects


# --- the coordinator was itself held up


@pytest.mark.parametrize("held_up", [0.55, 0.8, 0.95, 1.0, 1.1, 2.0, 30.0, 3600.0])
@pytest.mark.parametrize("heard_before", [0.0, 0.1, 0.19, 0.5, 0.65])
def test_a_coordinator_that_stood_still_suspects_nobody_for_it(held_up: float, heard_before: float) -> None:
    """Its loop was blocked, or its machine slept: every timer is late, and what the workers said is not read yet."""
    pair = assigned()
    silence(pair, heard_before)
    pair.now += held_up
    for _ in range(3):  # timers come before what lies in the socket
        pair.coordinator_events += pair.coordinator.on_deadline(pair.now)
        pair.now += 0.001
    pair.coordinator_events += pair.coordinator.heard(pair.now)
    pair.pass_time(5.0)
    assert suspicions(pair) == []


def test_a_coordinator_that_stood_still_still_finds_out_who_is_gone() -> None:
    pair = assigned()
    pair.now += 5.0
    pair.coordinator_events += pair.coordinator.on_deadline(pair.now)
    silence(pair, 1.1)
    assert suspicions(pair) == [True]

"""Durable jobs whose workers vanish, come back or speak too late, and whose coordinator starts anew."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.records import (
    JobState,
    LeaseEnd,
)
from gogrid.ids import WorkerId
from gogrid.protocol.job_messages import FailCode, Failed, Log, Started
from gogrid.protocol.messages import Heartbeat, HeartbeatAck
from gogrid.protocol.tasks import EmbeddingTask, ModelRef
from tests.fakes.durable import CRASH, MODEL, SCRIPT_DONE, Desk, held, open_desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, MODEL) as made:
        yield made


# --- lost links ------------------------------------------------------------------------------------------------------


async def test_a_lost_link_costs_a_job_nothing_if_its_worker_comes_back_with_it(desk: Desk) -> None:
    old, other = desk.worker("a"), desk.worker("b")
    record = await desk.submit()
    lines = [Log(seq=seq, stream="stdout", data=b"%d\n" % seq) for seq in (1, 2, 3)]
    desk.says(old, record, 1, Started(device="cpu"), *lines[:2])
    desk.dispatcher.disconnected(old, "no answer")
    await desk.pass_time(20.0)
    assert desk.dispatcher.leased == 1
    new = desk.worker("a", held(record, 1))
    assert new.sent[0] == HeartbeatAck(seq=1)
    await desk.pass_time(20.0)
    desk.says(new, record, 1, Started(device="cpu"), *lines, SCRIPT_DONE)
    ended = await desk.record(record)
    assert (ended.state, ended.epoch, ended.attempts) == (JobState.DONE, 1, 1)
    assert [line.data for line in await desk.store.logs(record.id, 0, 10)] == [b"1\n", b"2\n", b"3\n"]
    assert (other.assigned(), new.assigned(), new.settled()) == ([], [], [held(record, 1)])


async def test_a_worker_that_does_not_come_back_keeps_its_job_no_longer_than_the_lease(desk: Desk) -> None:
    link, other = desk.worker("a"), desk.worker("b")
    record = await desk.submit()
    desk.says(link, record, 1, Started(device="cpu"))
    desk.dispatcher.disconnected(link, "no answer")
    await desk.pass_time(29.9)
    assert other.assigned() == []
    await desk.pass_time(0.2)
    await desk.pass_time(2.0)
    assert await desk.assigned(other) == 2
    (attempt,) = await desk.store.attempts(record.id)
    assert (attempt.worker, attempt.ended) == ("a", LeaseEnd.VANISHED)


async def test_a_worker_that_was_started_anew_gives_its_jobs_up_at_once(desk: Desk) -> None:
    link, other = desk.worker("a"), desk.worker("b")
    record = await desk.submit()
    desk.says(link, record, 1, Started(device="cpu"))
    desk.dispatcher.disconnected(link, "killed")
    desk.worker("a")
    await desk.pass_time(2.0)
    assert await desk.assigned(other) == 2
    assert (await desk.record(record)).crashes == 1


async def test_a_worker_that_names_another_lease_of_a_job_does_not_hold_it(desk: Desk) -> None:
    """As after a restore from a backup, which raises every epoch."""
    link, other = desk.worker("a"), desk.worker("b")
    record = await desk.submit()
    desk.says(link, record, 1, Started(device="cpu"))
    desk.dispatcher.disconnected(link, "no answer")
    again = desk.worker("a", held(record, 7))
    assert again.sent[0] == HeartbeatAck(seq=1, lost=(held(record, 7),))
    await desk.pass_time(2.0)
    assert await desk.assigned(other) == 2


async def test_an_assignment_that_never_arrived_is_no_crash(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    desk.dispatcher.disconnected(link, "no answer")
    again = desk.worker("a")
    assert await desk.assigned(again) == 2
    assert (await desk.record(record)).crashes == 0
    assert await desk.store.attempts(record.id) == []


async def test_a_worker_that_is_gone_when_its_lease_is_on_disk_is_not_waited_for(desk: Desk) -> None:
    link = desk.worker("a")
    submitting = asyncio.create_task(desk.submit())
    await desk.until(lambda: desk.dispatcher.leased == 1)
    desk.dispatcher.disconnected(link, "gone")
    record = await submitting
    other = desk.worker("b")
    assert await desk.assigned(other) == 2
    assert link.assigned() == []
    assert (await desk.record(record)).crashes == 0


async def test_a_worker_that_says_goodbye_gives_its_jobs_back_without_blame(desk: Desk) -> None:
    link, other = desk.worker("a"), desk.worker("b")
    record = await desk.submit()
    desk.says(link, record, 1, Started(device="cpu"))
    desk.dispatcher.disconnected(link, "The worker is stopping.", for_good=True)
    assert await desk.assigned(other) == 2
    found = await desk.record(record)
    assert (found.crashes, [attempt.ended for attempt in await desk.store.attempts(record.id)]) == (
        0, [LeaseEnd.YIELDED],
    )  # fmt: skip


async def test_a_frozen_workers_late_result_is_fenced_and_counted_and_settled(desk: Desk) -> None:
    link, other = desk.worker("a"), desk.worker("b")
    record = await desk.submit()
    desk.says(link, record, 1, Started(device="cpu"))
    desk.dispatcher.disconnected(link, "no answer")
    await desk.pass_time(45.0)
    await desk.pass_time(2.0)
    assert await desk.assigned(other) == 2
    woken = desk.worker("a", held(record, 1))
    assert woken.sent[0] == HeartbeatAck(seq=1, lost=(held(record, 1),))
    desk.says(woken, record, 1, SCRIPT_DONE)
    assert await desk.state(record) is JobState.LEASED
    assert (desk.tally.fenced, woken.settled()) == (1, [held(record, 1)])
    desk.says(other, record, 2, SCRIPT_DONE)
    assert await desk.state(record) is JobState.DONE
    assert (desk.tally.fenced, desk.tally.finished) == (1, 1)


async def test_an_end_told_again_because_its_acknowledgement_was_lost_counts_once(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    desk.says(link, record, 1, SCRIPT_DONE)
    desk.dispatcher.disconnected(link, "no answer")
    again = desk.worker("a", held(record, 1))
    desk.says(again, record, 1, SCRIPT_DONE)
    assert await desk.state(record) is JobState.DONE
    await desk.until(lambda: again.settled() != [])
    assert set(again.settled()) == {held(record, 1)}
    assert (desk.tally.fenced, desk.tally.finished) == (0, 1)


async def test_a_crash_told_again_because_its_acknowledgement_was_lost_counts_once(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    desk.says(link, record, 1, CRASH)
    desk.dispatcher.disconnected(link, "no answer")
    await desk.quiet()
    again = desk.worker("a", held(record, 1))
    desk.says(again, record, 1, CRASH)
    await desk.quiet()
    assert (desk.tally.fenced, (await desk.record(record)).crashes) == (0, 1)
    assert again.settled() == [held(record, 1)]


async def test_a_lease_whose_end_is_being_stored_is_still_the_workers(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    desk.says(link, record, 1, SCRIPT_DONE)
    desk.dispatcher.heartbeat(link, Heartbeat(seq=2, held=(held(record, 1),)))
    assert link.sent[-1] == HeartbeatAck(seq=2)


async def test_an_old_lease_of_the_worker_that_has_the_job_again_says_nothing(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    desk.says(link, record, 1, Failed(code=FailCode.YIELDED, message="The owner is back."))
    desk.says(link, record, 1, SCRIPT_DONE)
    await desk.until(lambda: desk.dispatcher.leased == 1)
    desk.says(link, record, 1, SCRIPT_DONE)
    await desk.assigned(link, 2)
    desk.says(link, record, 1, SCRIPT_DONE)
    assert await desk.state(record) is JobState.LEASED


async def test_heartbeats_keep_a_lease_and_its_lack_ends_it(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    await desk.pass_time(20.0)
    desk.dispatcher.heartbeat(link, Heartbeat(seq=2, held=(held(record, 1),)))
    assert link.sent[-1] == HeartbeatAck(seq=2)
    await desk.pass_time(25.0)
    assert desk.dispatcher.leased == 1
    await desk.pass_time(6.0)
    assert desk.dispatcher.leased == 0
    desk.dispatcher.heartbeat(link, Heartbeat(seq=3, held=(held(record, 1),)))
    assert link.sent[-1] == HeartbeatAck(seq=3, lost=(held(record, 1),))


# --- starting anew ---------------------------------------------------------------------------------------------------


async def test_after_a_restart_a_worker_goes_on_with_its_job_and_the_others_jobs_wait_for_theirs(desk: Desk) -> None:
    first, second = desk.worker("a"), desk.worker("b")
    mine, theirs = await desk.submit(), await desk.submit()
    await desk.jobs.close()
    if desk.dispatcher.holds(mine.id, WorkerId("b")):
        mine, theirs = theirs, mine
    desk.says(first, mine, 1, Started(device="cpu"), Log(seq=1, stream="stdout", data=b"before"))
    assert await desk.start() == 2
    assert (desk.dispatcher.leased, desk.dispatcher.waiting) == (2, 0)
    back = desk.worker("a", held(mine, 1))
    third = desk.worker("c")
    again = Log(seq=1, stream="stdout", data=b"before")
    desk.says(back, mine, 1, Started(device="cpu"), again, Log(seq=2, stream="stdout", data=b"after"), SCRIPT_DONE)
    ended = await desk.record(mine)
    assert (ended.state, ended.epoch, ended.attempts) == (JobState.DONE, 1, 1)
    assert [line.data for line in await desk.store.logs(mine.id, 0, 10)] == [b"before", b"after"]
    await desk.pass_time(29.0)
    assert (back.assigned(), third.assigned()) == ([], [])
    for link in (back, third):
        desk.dispatcher.heartbeat(link, Heartbeat(seq=2))
    await desk.pass_time(1.1)
    await desk.pass_time(2.0)
    await desk.until(lambda: len(back.assigned()) + len(third.assigned()) == 1)
    assert (await desk.record(theirs)).epoch == 2
    assert second.settled() == []


async def test_an_end_that_the_coordinator_had_not_stored_when_it_died_is_told_again(desk: Desk) -> None:
    desk.worker("a")
    record = await desk.submit()
    await desk.start()
    back = desk.worker("a", held(record, 1))
    desk.says(back, record, 1, SCRIPT_DONE)
    assert await desk.state(record) is JobState.DONE
    assert back.settled() == [held(record, 1)]


async def test_after_a_restart_a_job_that_crashed_still_waits_and_still_counts_its_crashes(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    await desk.crash(link, record, 1)
    await desk.pass_time(2.0)
    await desk.assigned(link, 2)
    await desk.crash(link, record, 2)
    await desk.start()
    again = desk.worker("a")
    await asyncio.sleep(0)
    assert again.assigned() == []
    await desk.pass_time(6.1)
    desk.dispatcher.heartbeat(again, Heartbeat(seq=2))
    assert await desk.assigned(again) == 3
    for epoch in (3, 4):
        await desk.crash(again, record, epoch)
        await desk.pass_time(31.0)
        desk.dispatcher.heartbeat(again, Heartbeat(seq=epoch))
        await desk.assigned(again, epoch - 1)
    await desk.crash(again, record, 5)
    assert await desk.state(record) is JobState.DEAD


async def test_after_a_restart_a_job_whose_model_is_gone_fails_and_says_so(desk: Desk) -> None:
    model = ModelRef(name="m", digest=MODEL.digest)
    record = await desk.submit(EmbeddingTask(model=model, inputs=("one",)))
    await desk.store.remove_model("m")
    await desk.directory.reload()
    await desk.start()
    ended = await desk.record(record)
    assert ended.outcome is not None
    assert (ended.state, ended.outcome.error_code) == (JobState.FAILED, "model_unusable")

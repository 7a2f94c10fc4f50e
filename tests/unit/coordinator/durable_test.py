"""What happens to durable jobs when workers answer, crash, vanish, come back or speak too late, and when the
coordinator itself starts anew: real store, links in memory, clocks that the test holds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.errors import ConflictError, QueueFullError
from coordinator.records import (
    JobRecord,
    JobState,
    LeaseEnd,
    LogLine,
    ModelKind,
    ModelRecord,
    TextResult,
    VectorsResult,
    decode_result,
)
from coordinator.tickets import Submission
from gogrid.ids import Sha256, WorkerId
from gogrid.manifest import digest_of
from gogrid.protocol.messages import (
    LINES_PER_LEASE,
    EmbeddingDone,
    FailCode,
    Failed,
    Finished,
    Heartbeat,
    HeartbeatAck,
    LeaseHeld,
    Log,
    OutputFile,
    PythonDone,
    Refuse,
    Started,
    TextDone,
    Tokens,
    Vectors,
)
from gogrid.protocol.tasks import ChatMessage, ChatTask, EmbeddingTask, ModelRef, Sampling
from tests.fakes.durable import KEY, SCRIPT, WALL, Desk, open_desk
from tests.fakes.links import MemoryLink

MODEL = ModelRecord("m", Sha256("a" * 64), ModelKind.CHAT, "echo", 0, 100, 8192, 0, 0.0)
SCRIPT_DONE = Finished(result=PythonDone(exit_code=0, ended="exit"))
CRASH = Failed(code=FailCode.CRASHED, message="The engine died.")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, MODEL) as made:
        yield made


def held(record: JobRecord, epoch: int) -> LeaseHeld:
    return LeaseHeld(job_id=record.id, epoch=epoch)


# --- the usual life --------------------------------------------------------------------------------------------------


async def test_a_job_is_on_disk_with_its_lease_before_it_is_acknowledged_and_its_worker_told(desk: Desk) -> None:
    link = desk.worker("a")
    submitting = asyncio.create_task(desk.submit())
    await desk.until(lambda: desk.dispatcher.leased == 1)
    assert link.assigned() == []
    record = await submitting
    (assign,) = link.assigned()
    assert (assign.job_id, assign.epoch, assign.durable) == (record.id, 1, True)
    assert await desk.state(record) is JobState.LEASED
    desk.says(link, record, 1, Started(device="cpu"), SCRIPT_DONE)
    ended = await desk.record(record)
    assert (ended.state, ended.epoch, ended.started_at) == (JobState.DONE, 1, WALL)
    assert desk.dispatcher.leased == 0
    assert link.settled() == [held(record, 1)]
    assert desk.tally.finished == 1


async def test_a_job_that_goes_on_for_a_while_is_stored_as_running(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    desk.says(link, record, 1, Started(device="cpu"))
    async with asyncio.timeout(5):
        while await desk.state(record) is not JobState.RUNNING:
            await asyncio.sleep(0.01)


async def test_a_job_that_waits_for_a_worker_gets_the_first_that_comes(desk: Desk) -> None:
    record = await desk.submit()
    assert await desk.state(record) is JobState.QUEUED
    link = desk.worker("a")
    assert await desk.assigned(link) == 1


async def test_the_same_request_again_is_the_same_job_and_disturbs_nobody(desk: Desk) -> None:
    link = desk.worker("a")
    first = await desk.submit(once="once")
    again = await desk.submit(once="once")
    assert again.id == first.id
    assert (len(link.assigned()), desk.dispatcher.leased, desk.tally.accepted) == (1, 1, 1)


async def test_a_refused_bulk_leaves_no_trace(desk: Desk) -> None:
    link = desk.worker("a")
    await desk.jobs.submit(KEY, Submission("x", SCRIPT, "once", "body"))
    with pytest.raises(ConflictError):
        await desk.jobs.submit_all(KEY, [Submission("y", SCRIPT), Submission("z", SCRIPT, "once", "other")])
    assert (len(link.assigned()), desk.dispatcher.leased, desk.dispatcher.waiting) == (1, 1, 0)
    assert len(await desk.store.jobs(None, (), (), 10)) == 1


async def test_no_more_jobs_are_taken_than_may_be_unfinished(desk: Desk) -> None:
    await desk.jobs.submit_all(KEY, [Submission("x", SCRIPT)] * 10)
    with pytest.raises(QueueFullError):
        await desk.submit()


async def test_a_caller_that_leaves_while_its_job_is_stored_loses_nothing(desk: Desk) -> None:
    link = desk.worker("a")
    submitting = asyncio.create_task(desk.submit())
    await desk.until(lambda: desk.dispatcher.leased == 1)
    submitting.cancel()
    await desk.assigned(link)
    assert len(await desk.store.jobs(None, (JobState.LEASED,), (), 10)) == 1


async def test_a_failing_script_is_a_failed_job_that_keeps_its_exit_code(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    desk.says(link, record, 1, Finished(result=PythonDone(exit_code=3, ended="exit")))
    ended = await desk.record(record)
    assert ended.state is JobState.FAILED
    assert ended.outcome is not None
    assert ended.outcome.error == "The script ended with exit code 3."


async def test_a_result_whose_files_never_arrived_does_not_count(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    file = OutputFile(name="out.txt", sha256=digest_of(b"output"), size=6)
    done = Finished(result=PythonDone(exit_code=0, ended="exit", files=(file,)))
    desk.says(link, record, 1, done)
    await desk.pass_time(2.0)
    assert await desk.assigned(link, 2) == 2
    desk.blobs.put_bytes(b"output")
    desk.says(link, record, 2, done)
    assert await desk.state(record) is JobState.DONE


async def test_a_chat_job_keeps_its_text_and_usage(desk: Desk) -> None:
    link = desk.worker("a")
    model = ModelRef(name="m", digest=MODEL.digest)
    task = ChatTask(model=model, messages=(ChatMessage(role="user", content="hi"),), sampling=Sampling())
    record = await desk.submit(task)
    pieces = [Tokens(seq=seq, text=text, token_ids=(seq,)) for seq, text in enumerate(("Hel", "lo", "!"))]
    done = Finished(result=TextDone(finish_reason="stop", prompt_tokens=3, completion_tokens=3))
    desk.says(link, record, 1, Started(device="cpu"), *pieces[:2], *pieces, done)
    ended = await desk.record(record)
    assert ended.outcome is not None
    assert decode_result(ended.outcome.result) == TextResult("Hello!", "stop", 3, 3)
    assert (desk.tally.tokens_in, desk.tally.tokens_out) == (3, 3)


async def test_an_embedding_job_keeps_its_vectors_and_not_half_of_them(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit(EmbeddingTask(model=ModelRef(name="m", digest=MODEL.digest), inputs=("one", "two")))
    done = Finished(result=EmbeddingDone(width=2, prompt_tokens=4))
    first, second = (Vectors(first=n, width=2, data=bytes([n]) * 8) for n in range(2))
    desk.says(link, record, 1, first, done)
    await desk.pass_time(2.0)
    assert await desk.assigned(link, 2) == 2
    desk.says(link, record, 2, first, first, second, done)
    ended = await desk.record(record)
    assert ended.outcome is not None
    assert decode_result(ended.outcome.result) == VectorsResult(2, b"\0" * 8 + b"\1" * 8, 4)


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


# --- crashes ---------------------------------------------------------------------------------------------------------


async def crash(desk: Desk, link: MemoryLink, record: JobRecord, epoch: int) -> None:
    desk.says(link, record, epoch, CRASH)
    await desk.jobs.close()


async def test_a_job_that_crashed_waits_longer_each_time(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    for epoch, least, most in ((1, 0.8, 1.2), (2, 4.0, 6.0), (3, 20.0, 30.0)):
        await crash(desk, link, record, epoch)
        not_before = (await desk.record(record)).not_before
        assert not_before is not None
        assert least <= not_before - (WALL + desk.now) <= most
        await desk.pass_time(least - 0.1)
        await asyncio.sleep(0)
        assert len(link.assigned()) == epoch
        await desk.pass_time(most)
        desk.dispatcher.heartbeat(link, Heartbeat(seq=epoch))
        assert await desk.assigned(link, epoch + 1) == epoch + 1


async def test_a_poison_job_is_dead_after_three_crashes_on_two_workers_and_may_be_tried_again(desk: Desk) -> None:
    links = {link.worker.id: link for link in (desk.worker("a"), desk.worker("b"))}
    record = await desk.submit()
    for epoch in (1, 2, 3):
        await desk.until(lambda: desk.dispatcher.leased == 1)
        await desk.jobs.close()
        holder = next(link for link in links.values() if desk.dispatcher.holds(record.id, link.worker.id))
        await crash(desk, holder, record, epoch)
        await desk.pass_time(10.0)
        for link in links.values():
            desk.dispatcher.heartbeat(link, Heartbeat(seq=2))
        await desk.jobs.close()
    dead = await desk.record(record)
    assert (dead.state, dead.crashes, desk.tally.dead) == (JobState.DEAD, 3, 1)
    assert dead.outcome is not None
    assert "3 times on 2 workers" in dead.outcome.error
    assert len(await desk.store.attempts(record.id)) == 3
    again = await desk.jobs.revive(record.id)
    assert (again.state, again.epoch) == (JobState.QUEUED, 3)
    await desk.until(lambda: desk.dispatcher.leased == 1)
    await desk.jobs.close()
    holder = next(link for link in links.values() if desk.dispatcher.holds(record.id, link.worker.id))
    desk.says(holder, record, 4, SCRIPT_DONE)
    assert await desk.state(record) is JobState.DONE


async def test_a_job_that_crashes_five_times_on_the_only_worker_is_dead(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    for epoch in range(1, 6):
        assert await desk.assigned(link, epoch) == epoch
        desk.dispatcher.job_stream_ended(link, record.id, epoch)
        await desk.pass_time(31.0)
        desk.dispatcher.heartbeat(link, Heartbeat(seq=epoch))
    assert await desk.state(record) is JobState.DEAD
    assert desk.directory.worker(WorkerId("a")).quarantined == ""  # type: ignore[union-attr]


async def test_refusals_and_yields_do_not_kill_a_job(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    for epoch in range(1, 15, 2):
        await desk.assigned(link, epoch)
        desk.dispatcher.refused(link, Refuse(job_id=record.id, epoch=epoch, reason="full"))
        await desk.pass_time(1.1)
        await desk.assigned(link, epoch + 1)
        desk.says(link, record, epoch + 1, Failed(code=FailCode.YIELDED, message="The owner is back."))
        await desk.pass_time(1.1)
    found = await desk.record(record)
    assert (found.state.final, found.crashes) == (False, 0)


async def test_a_sick_worker_is_quarantined_with_the_reason_and_its_jobs_finish_elsewhere(desk: Desk) -> None:
    sick = desk.worker("a")
    records = [await desk.submit() for _ in range(3)]
    for record in records:
        await crash(desk, sick, record, 1)
    reason = "3 jobs in a row crashed on it, the last one because: The engine died"
    await desk.until(lambda: desk.directory.worker(WorkerId("a")).quarantined == reason)  # type: ignore[union-attr]
    await desk.pass_time(10.0)
    await desk.quiet()
    assert len(sick.assigned()) == 3
    well = desk.worker("b")
    await desk.assigned(well, 3)
    for record in records:
        desk.says(well, record, 2, SCRIPT_DONE)
        assert await desk.state(record) is JobState.DONE
    stored = {worker.id: worker for worker in await desk.store.workers()}
    assert stored[WorkerId("a")].quarantined == reason
    assert stored[WorkerId("b")].quarantined == ""


async def test_a_pulled_plug_is_one_crash_of_the_worker_however_much_it_ran(desk: Desk) -> None:
    link = desk.worker("a")
    records = [await desk.submit() for _ in range(4)]
    for record in records:
        desk.says(link, record, 1, Started(device="cpu"))
    desk.dispatcher.disconnected(link, "no answer")
    await desk.pass_time(31.0)
    await desk.jobs.close()
    worker = desk.directory.worker(WorkerId("a"))
    assert worker is not None
    assert (len(worker.crashed_jobs), worker.quarantined) == (1, "")
    assert [(await desk.record(record)).crashes for record in records] == [1] * 4


async def test_several_crashes_in_one_turn_all_count(desk: Desk) -> None:
    link = desk.worker("a")
    for record in [await desk.submit() for _ in range(3)]:
        desk.says(link, record, 1, CRASH)
    await desk.jobs.close()
    assert desk.directory.worker(WorkerId("a")).quarantined != ""  # type: ignore[union-attr]


async def test_a_finished_job_clears_a_workers_record(desk: Desk) -> None:
    link = desk.worker("a")
    first, second = [await desk.submit() for _ in range(2)]
    await crash(desk, link, first, 1)
    assert desk.directory.worker(WorkerId("a")).crashed_jobs == (first.id,)  # type: ignore[union-attr]
    desk.says(link, second, 1, SCRIPT_DONE)
    await desk.jobs.close()
    assert desk.directory.worker(WorkerId("a")).crashed_jobs == ()  # type: ignore[union-attr]


# --- cancelling ------------------------------------------------------------------------------------------------------


async def test_a_cancelled_job_stops_where_it_runs(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    assert (await desk.jobs.cancel(record.id)).state is JobState.CANCELLED
    assert [(cancel.job_id, cancel.epoch) for cancel in link.cancelled()] == [(record.id, 1)]
    desk.says(link, record, 1, SCRIPT_DONE)
    assert await desk.state(record) is JobState.CANCELLED
    assert (await desk.jobs.cancel(record.id)).state is JobState.CANCELLED
    assert (desk.tally.cancelled, desk.tally.fenced) == (1, 0)


async def test_a_job_cancelled_while_its_worker_is_away_is_lost_to_it_when_it_returns(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    desk.says(link, record, 1, Started(device="cpu"))
    desk.dispatcher.disconnected(link, "no answer")
    assert (await desk.jobs.cancel(record.id)).state is JobState.CANCELLED
    assert desk.dispatcher.leased == 0
    again = desk.worker("a", held(record, 1))
    assert again.sent[0] == HeartbeatAck(seq=1, lost=(held(record, 1),))


async def test_a_job_cancelled_while_its_lease_is_being_stored_reaches_no_worker(desk: Desk) -> None:
    record = await desk.submit()
    link = desk.worker("a")
    cancelling = asyncio.create_task(desk.jobs.cancel(record.id))
    await cancelling
    await desk.jobs.close()
    assert await desk.state(record) is JobState.CANCELLED
    assert desk.dispatcher.leased == 0
    assert {cancel.job_id for cancel in link.cancelled()} >= {assign.job_id for assign in link.assigned()}


async def test_a_job_cancelled_while_it_waits_after_a_crash_is_over(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    await crash(desk, link, record, 1)
    await desk.jobs.cancel(record.id)
    await desk.pass_time(10.0)
    assert await desk.state(record) is JobState.CANCELLED
    assert len(link.assigned()) == 1


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
    await crash(desk, link, record, 1)
    await desk.pass_time(2.0)
    await desk.assigned(link, 2)
    await crash(desk, link, record, 2)
    await desk.start()
    again = desk.worker("a")
    await asyncio.sleep(0)
    assert again.assigned() == []
    await desk.pass_time(6.1)
    desk.dispatcher.heartbeat(again, Heartbeat(seq=2))
    assert await desk.assigned(again) == 3
    for epoch in (3, 4):
        await crash(desk, again, record, epoch)
        await desk.pass_time(31.0)
        desk.dispatcher.heartbeat(again, Heartbeat(seq=epoch))
        await desk.assigned(again, epoch - 1)
    await crash(desk, again, record, 5)
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


# --- following -------------------------------------------------------------------------------------------------------


async def test_followers_see_the_log_as_it_comes_and_then_the_end(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    seen: list[LogLine | JobRecord] = []

    async def follow() -> None:
        async for item in desk.jobs.follow(record.id, 0):
            seen.append(item)

    follower = asyncio.create_task(follow())
    for seq, data in enumerate((b"one\n", b"two\n"), start=1):
        desk.says(link, record, 1, Log(seq=seq, stream="stdout", data=data))
        await desk.until(lambda count=seq: len(seen) >= count)  # type: ignore[misc]
    desk.says(link, record, 1, SCRIPT_DONE)
    await follower
    assert seen[:2] == [
        LogLine(LINES_PER_LEASE + 1, "stdout", b"one\n"),
        LogLine(LINES_PER_LEASE + 2, "stdout", b"two\n"),
    ]
    assert isinstance(seen[2], JobRecord)
    assert seen[2].state is JobState.DONE


async def test_a_follower_that_comes_back_after_the_job_moved_misses_no_line(desk: Desk) -> None:
    first, second = desk.worker("a"), desk.worker("b")
    record = await desk.submit()
    desk.says(first, record, 1, Log(seq=5, stream="stdout", data=b"old"))
    read = (await anext(desk.jobs.follow(record.id, 0))).seq  # type: ignore[union-attr]
    desk.dispatcher.disconnected(first, "stopping", for_good=True)
    await desk.assigned(second)
    desk.says(second, record, 2, Log(seq=1, stream="stdout", data=b"new"))
    line = await anext(desk.jobs.follow(record.id, read))
    assert isinstance(line, LogLine)
    assert line.data == b"new"

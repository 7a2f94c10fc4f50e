"""Durable jobs as they usually go, are cancelled and followed: real store, links in memory, clocks a test holds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.errors import ConflictError, QueueFullError
from coordinator.records import (
    JobRecord,
    JobState,
    LogLine,
    TextResult,
    VectorsResult,
    decode_result,
)
from coordinator.tickets import Submission
from gogrid.manifest import digest_of
from gogrid.protocol.job_messages import (
    LINES_PER_LEASE,
    EmbeddingDone,
    Finished,
    Log,
    OutputFile,
    PythonDone,
    PythonEnd,
    Started,
    TextDone,
    Tokens,
    Vectors,
)
from gogrid.protocol.messages import HeartbeatAck
from gogrid.protocol.tasks import ChatMessage, ChatTask, EmbeddingTask, ModelRef, Sampling
from tests.fakes.durable import KEY, MODEL, SCRIPT, SCRIPT_DONE, WALL, Desk, held, open_desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, MODEL) as made:
        yield made


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
    desk.says(link, record, 1, Finished(result=PythonDone(exit_code=3, ended=PythonEnd.FAILED)))
    ended = await desk.record(record)
    assert ended.state is JobState.FAILED
    assert ended.outcome is not None
    assert ended.outcome.error == "The script ended with exit code 3."


async def test_a_result_whose_files_never_arrived_does_not_count(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    file = OutputFile(name="out.txt", sha256=digest_of(b"output"), size=6)
    done = Finished(result=PythonDone(exit_code=0, ended=PythonEnd.OK, files=(file,)))
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
    await desk.crash(link, record, 1)
    await desk.jobs.cancel(record.id)
    await desk.pass_time(10.0)
    assert await desk.state(record) is JobState.CANCELLED
    assert len(link.assigned()) == 1


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

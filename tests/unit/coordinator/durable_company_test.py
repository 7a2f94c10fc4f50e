"""Durable jobs that died together: nobody is blamed, and each is tried alone, so that the one at fault is found."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from coordinator.records import JobRecord, JobState, LeaseEnd
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.job_messages import Failed, Finished, TextDone
from gogrid.protocol.messages import Heartbeat, LeaseHeld
from gogrid.protocol.tasks import ChatMessage, ChatTask, ModelRef, Sampling
from tests.fakes.durable import CRASH, MODEL, Desk, held, open_desk
from tests.fakes.links import MemoryLink

CHAT = ChatTask(
    model=ModelRef(name="m", digest=MODEL.digest),
    messages=(ChatMessage(role="user", content="x"),),
    sampling=Sampling(),
)
DONE = Finished(result=TextDone(finish_reason="stop", prompt_tokens=1, completion_tokens=0))
IN_COMPANY: Failed = msgspec.structs.replace(CRASH, in_company=True)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, MODEL) as made:
        yield made


async def lease(desk: Desk, links: list[MemoryLink], record: JobRecord) -> tuple[MemoryLink, int, bool]:
    """Who has the job now, its epoch, and whether alone."""
    for _ in range(8):
        await desk.quiet()
        for link in links:
            if desk.dispatcher.holds(record.id, link.worker.id):
                await desk.quiet()
                assign = next(assign for assign in reversed(link.assigned()) if assign.job_id == record.id)
                return link, assign.epoch, assign.alone
            leases = [LeaseHeld(job_id=assign.job_id, epoch=assign.epoch) for assign in link.assigned()]
            desk.dispatcher.heartbeat(link, Heartbeat(seq=2, held=tuple(leases)))
        await desk.pass_time(5.0)
    raise AssertionError("nobody was given the job")


def row_of(desk: Desk, name: str) -> tuple[JobId, ...]:
    worker = desk.directory.worker(WorkerId(name))
    assert worker is not None
    assert worker.quarantined == ""
    return worker.crashed_jobs


async def test_a_crash_in_company_blames_neither_the_jobs_nor_the_worker(desk: Desk) -> None:
    link = desk.worker("a")
    records = [await desk.submit(CHAT) for _ in range(4)]
    assert not any(assign.alone for assign in link.assigned())
    for record in records:
        await desk.crash(link, record, 1, IN_COMPANY)
    assert row_of(desk, "a") == ()
    for record in records:
        assert (await desk.record(record)).crashes == 0
        (attempt,) = await desk.store.attempts(record.id)
        assert (attempt.ended, attempt.why) == (LeaseEnd.IN_COMPANY, IN_COMPANY.message)
    for record in records:
        assert (await lease(desk, [link], record))[1:] == (2, True)
        desk.says(link, record, 2, DONE)
        assert await desk.state(record) is JobState.DONE


async def test_poison_is_found_by_three_crashes_alone_and_makes_no_worker_sick(desk: Desk) -> None:
    links = [desk.worker("a"), desk.worker("b")]
    record = await desk.submit(CHAT)
    for epoch, crash in ((1, IN_COMPANY), (2, CRASH), (3, CRASH), (4, CRASH)):
        holder, now, alone = await lease(desk, links, record)
        assert (now, alone) == (epoch, epoch > 1)
        await desk.crash(holder, record, epoch, crash)
        assert {*row_of(desk, "a"), *row_of(desk, "b")} <= {record.id}
    dead = await desk.record(record)
    assert (dead.state, dead.crashes, dead.attempts) == (JobState.DEAD, 3, 4)


async def test_a_job_that_killed_what_ran_it_alone_is_kept_from_the_others(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit(CHAT)
    await desk.crash(link, record, 1)
    assert (await lease(desk, [link], record))[1:] == (2, True)


async def test_a_pulled_plug_makes_nobody_run_alone(desk: Desk) -> None:
    """It says little of the jobs, and they may be many."""
    link = desk.worker("a")
    record = await desk.submit(CHAT)
    desk.dispatcher.job_stream_ended(link, record.id, 1)
    assert (await desk.record(record)).crashes == 1
    assert (await lease(desk, [link], record))[1:] == (2, False)


async def test_a_worker_that_says_in_company_for_ever_does_not_keep_a_job_for_ever(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit(CHAT)
    for epoch in range(1, 7):
        await desk.crash((await lease(desk, [link], record))[0], record, epoch, IN_COMPANY)
    assert await desk.state(record) is JobState.DEAD


async def test_who_has_to_run_alone_is_known_after_a_restart_and_when_a_dead_job_is_revived(desk: Desk) -> None:
    link = desk.worker("a")
    company, single, well = [await desk.submit(CHAT) for _ in range(3)]
    await desk.crash(link, company, 1, IN_COMPANY)
    await desk.crash(link, single, 1)
    await desk.start()
    link = desk.worker("a", held(well, 1))
    _, epoch, alone = await lease(desk, [link], company)
    assert alone
    desk.says(link, company, epoch, DONE)
    while not (await desk.record(single)).state.final:
        holder, epoch, alone = await lease(desk, [link], single)
        assert alone
        await desk.crash(holder, single, epoch)
    await desk.jobs.revive(single.id)
    assert (await lease(desk, [link], single))[2]

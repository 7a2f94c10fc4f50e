"""Durable jobs that crash, and workers on which they do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.durable.health import FENCES_PER_CRASH, POISON_CRASHES, POISON_ON_ONE
from coordinator.records import JobRecord, JobState, LeaseEnd
from gogrid.ids import WorkerId
from gogrid.protocol.job_messages import FailCode, Failed, Started
from gogrid.protocol.messages import Heartbeat, Refuse
from tests.fakes.durable import CRASH, MODEL, SCRIPT_DONE, WALL, Desk, held, open_desk
from tests.fakes.links import MemoryLink

FENCED = Failed(code=FailCode.FENCED, message="The worker could not reach its coordinator and gave the job up.")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, MODEL) as made:
        yield made


async def test_a_job_that_crashed_waits_longer_each_time(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    for epoch, least, most in ((1, 0.8, 1.2), (2, 4.0, 6.0), (3, 20.0, 30.0)):
        await desk.crash(link, record, epoch)
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
        await desk.crash(holder, record, epoch)
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


async def fence(desk: Desk, links: dict[WorkerId, MemoryLink], record: JobRecord, epoch: int) -> None:
    """Whoever has the job loses its link, fences itself after 24 s, and is back to say so before the lease ends."""
    await desk.until(lambda: desk.dispatcher.leased == 1)
    await desk.jobs.close()
    name = next(name for name in links if desk.dispatcher.holds(record.id, name))
    desk.says(links[name], record, epoch, Started(device="cpu"))
    desk.dispatcher.disconnected(links[name], "no answer")
    await desk.pass_time(25.0)
    links[name] = desk.worker(name, held(record, epoch))
    desk.says(links[name], record, epoch, FENCED)
    await desk.quiet()
    await desk.pass_time(31.0)
    for link in links.values():
        desk.dispatcher.heartbeat(link, Heartbeat(seq=2))
    await desk.jobs.close()


async def test_workers_that_fence_themselves_and_come_back_kill_no_innocent_job(desk: Desk) -> None:
    links = {link.worker.id: link for link in (desk.worker("a"), desk.worker("b"))}
    record = await desk.submit()
    for epoch in (1, 2, 3):
        await fence(desk, links, record, epoch)
    ends = [attempt.ended for attempt in await desk.store.attempts(record.id)]
    assert ends == [LeaseEnd.FENCED, LeaseEnd.FENCED, LeaseEnd.VANISHED]
    assert (await desk.record(record)).crashes == 1
    await desk.until(lambda: desk.dispatcher.leased == 1)
    await desk.jobs.close()
    holder = next(link for name, link in links.items() if desk.dispatcher.holds(record.id, name))
    desk.says(holder, record, 4, SCRIPT_DONE)
    assert await desk.state(record) is JobState.DONE
    assert [desk.directory.worker(name).quarantined for name in links] == ["", ""]  # type: ignore[union-attr]


async def test_a_job_that_freezes_every_machine_until_it_fences_itself_is_dead_in_the_end(desk: Desk) -> None:
    links = {link.worker.id: link for link in (desk.worker("a"), desk.worker("b"))}
    record = await desk.submit()
    fences = 0
    while not (await desk.record(record)).state.final:
        fences += 1
        assert fences <= POISON_ON_ONE * FENCES_PER_CRASH
        await fence(desk, links, record, fences)
    assert (await desk.record(record)).state is JobState.DEAD
    assert fences >= POISON_CRASHES * FENCES_PER_CRASH


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


async def test_leases_that_a_frozen_worker_never_took_up_do_not_kill_a_job(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    for epoch in range(1, 8):
        await desk.assigned(link, epoch)
        await desk.pass_time(31.0)
    found = await desk.record(record)
    assert (found.state.final, found.crashes) == (False, 0)
    assert desk.directory.worker(WorkerId("a")).quarantined == ""  # type: ignore[union-attr]


async def test_jobs_that_crash_everywhere_quarantine_nobody(desk: Desk) -> None:
    first, second = desk.worker("a"), desk.worker("b")
    for _ in range(3):
        record = await desk.submit()
        for epoch in (1, 2, 3):
            await desk.until(lambda: desk.dispatcher.leased == 1)
            await desk.jobs.close()
            holder = next(link for link in (first, second) if desk.dispatcher.holds(record.id, link.worker.id))
            await desk.crash(holder, record, epoch)
            await desk.pass_time(31.0)
            for link in (first, second):
                desk.dispatcher.heartbeat(link, Heartbeat(seq=epoch))
        assert await desk.state(record) is JobState.DEAD
    for name in ("a", "b"):
        worker = desk.directory.worker(WorkerId(name))
        assert worker is not None
        assert len(worker.crashed_jobs) <= 2


async def test_what_fails_alone_is_not_the_workers_fault(desk: Desk) -> None:
    link = desk.worker("a")
    for _ in range(4):
        record = await desk.submit()
        await desk.assigned(link, 1)
        desk.says(link, record, 1, Failed(code=FailCode.INTERNAL, message="It failed."))
        await desk.jobs.cancel(record.id)
    assert desk.directory.worker(WorkerId("a")).crashed_jobs == ()  # type: ignore[union-attr]


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


async def test_a_job_that_is_refused_again_and_again_waits_longer_each_time_and_was_never_tried(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    for epoch, delay_s in enumerate((1, 2, 4, 8, 16, 30, 30), start=1):
        await desk.assigned(link, epoch)
        desk.dispatcher.refused(link, Refuse(job_id=record.id, epoch=epoch, reason="no memory is free"))
        found = await desk.record(record)
        assert (found.attempts, found.crashes) == (0, 0)
        await desk.quiet()
        assert desk.scheduler.reasons(record.id) == (f"no memory is free; it is tried again in {delay_s} s",)
        await desk.pass_time(delay_s - 0.1)
        await desk.quiet()
        assert len(link.assigned()) == epoch
        await desk.pass_time(0.2)
    await desk.assigned(link, 8)
    desk.says(link, record, 8, SCRIPT_DONE)
    assert (await desk.record(record)).attempts == 1


async def test_a_sick_worker_is_quarantined_with_the_reason_and_its_jobs_finish_elsewhere(desk: Desk) -> None:
    sick = desk.worker("a")
    records = [await desk.submit() for _ in range(3)]
    for record in records:
        await desk.crash(sick, record, 1)
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
    await desk.crash(link, first, 1)
    assert desk.directory.worker(WorkerId("a")).crashed_jobs == (first.id,)  # type: ignore[union-attr]
    desk.says(link, second, 1, SCRIPT_DONE)
    await desk.jobs.close()
    assert desk.directory.worker(WorkerId("a")).crashed_jobs == ()  # type: ignore[union-attr]

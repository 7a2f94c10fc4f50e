"""Whoever waits for a job's end is told what the store holds of it, also where the store is not asked."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.records import JobRecord
from gogrid.protocol.job_messages import FailCode, Failed, Started
from tests.fakes.durable import MODEL, SCRIPT_DONE, Desk, open_desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, MODEL) as made:
        yield made


async def told(desk: Desk, waiting: "asyncio.Task[JobRecord]") -> tuple[JobRecord, JobRecord | None]:
    record = await waiting
    return record, await desk.store.job(record.id)


@pytest.mark.parametrize("end", [SCRIPT_DONE, Failed(code=FailCode.BAD_REQUEST, message="no")])
async def test_the_end_told_is_the_end_stored(desk: Desk, end: object) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    waiting = asyncio.create_task(desk.jobs.ended(record.id, 30))
    await asyncio.sleep(0)
    desk.says(link, record, 1, Started(device="cpu"), end)  # type: ignore[arg-type]
    answered, stored = await told(desk, waiting)
    assert answered.state.final
    assert answered == stored


async def test_the_end_told_is_the_end_stored_of_a_job_that_had_to_wait_for_a_worker(desk: Desk) -> None:
    record = await desk.submit()
    waiting = asyncio.create_task(desk.jobs.ended(record.id, 30))
    link = desk.worker("a")
    assert await desk.assigned(link) == 1
    desk.says(link, record, 1, SCRIPT_DONE)
    answered, stored = await told(desk, waiting)
    assert answered == stored


async def test_the_end_told_is_the_end_stored_of_a_job_that_crashed_before(desk: Desk) -> None:
    first, second = desk.worker("a"), desk.worker("b")
    record = await desk.submit()
    waiting = asyncio.create_task(desk.jobs.ended(record.id, 30))
    await asyncio.sleep(0)
    crashed, other = (first, second) if first.assigned() else (second, first)
    await desk.crash(crashed, record, 1)
    await desk.pass_time(60)
    assert await desk.assigned(other) == 2
    desk.says(other, record, 2, Started(device="cpu"), SCRIPT_DONE)
    answered, stored = await told(desk, waiting)
    assert (answered.attempts, answered.crashes) == (2, 1)
    assert answered == stored


async def test_waiting_for_an_end_costs_no_question_to_the_store(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    link = desk.worker("a")
    record = await desk.submit()
    waiting = asyncio.create_task(desk.jobs.ended(record.id, 30))
    await asyncio.sleep(0)
    asked: list[str] = []
    monkeypatch.setattr(desk.store, "job", asked.append)
    desk.says(link, record, 1, SCRIPT_DONE)
    assert (await waiting).state.final
    assert asked == []

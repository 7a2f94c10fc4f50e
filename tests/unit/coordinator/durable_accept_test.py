"""What comes together is stored together, and nobody is refused for what another one asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from coordinator.errors import ConflictError, StorageFullError
from coordinator.records import JobRecord, JobState, NewJob
from coordinator.tickets import Submission
from gogrid.ids import WorkerId
from tests.fakes.durable import KEY, SCRIPT, Desk, open_desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path) as made:
        yield made


def submission(once: str | None = None, body: str = "") -> Submission:
    return Submission("main.py", SCRIPT, once, body)


async def together(desk: Desk, *wanted: Submission) -> list[tuple[JobRecord, bool] | BaseException]:
    return await asyncio.gather(*(desk.jobs.submit(KEY, one) for one in wanted), return_exceptions=True)


async def test_what_comes_in_one_turn_is_one_statement_of_the_store(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    submit_all = desk.store.submit_all

    async def counting(jobs: Sequence[tuple[NewJob, WorkerId | None]]) -> list[tuple[JobRecord, bool]]:
        sizes.append(len(jobs))
        return await submit_all(jobs)

    monkeypatch.setattr(desk.store, "submit_all", counting)
    accepted = await together(desk, *[submission()] * 5)
    assert sizes == [5]
    ids = [record.id for record, new in accepted if new]  # type: ignore[misc]
    assert len(set(ids)) == 5
    for job_id in ids:
        stored = await desk.store.job(job_id)
        assert stored is not None
        assert stored.state is JobState.QUEUED


async def test_a_key_that_was_used_otherwise_refuses_nobody_else(desk: Desk) -> None:
    await desk.jobs.submit(KEY, submission("once", "one body"))
    accepted = await together(desk, submission(), submission("once", "another body"), submission())
    assert isinstance(accepted[1], ConflictError)
    assert [new for _, new in (accepted[0], accepted[2])] == [True, True]  # type: ignore[misc]


async def test_a_caller_that_leaves_takes_nobody_along(desk: Desk) -> None:
    leaving = asyncio.create_task(desk.jobs.submit(KEY, submission()))
    staying = asyncio.create_task(desk.jobs.submit(KEY, submission()))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying)[1]
    await desk.jobs.close()
    assert len(await desk.store.jobs(None, [], [], 9)) == 2


async def test_a_full_disk_refuses_all_of_them_and_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(jobs: Sequence[tuple[NewJob, WorkerId | None]]) -> list[tuple[JobRecord, bool]]:
        raise StorageFullError("full")

    with monkeypatch.context() as patched:
        patched.setattr(desk.store, "submit_all", full)
        refused = await together(desk, submission(), submission())
    assert [type(each) for each in refused] == [StorageFullError] * 2
    assert desk.scheduler.waiting == 0
    accepted = await together(desk, *[submission()] * desk.queued)
    assert all(new for _, new in accepted)  # type: ignore[misc]  # the refused ones count for nothing

"""One key's jobs, and everybody's, are bounded; what is refused says whose fault it is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.durable.quota import DurableLimits, Quota
from coordinator.errors import ConflictError, KeyLimitError, QueueFullError
from coordinator.http.errors import reply_to
from coordinator.records import KeyRecord, Scope
from coordinator.tickets import Submission
from gogrid.ids import KeyId
from gogrid.protocol.tasks import PythonTask
from tests.fakes.durable import Desk, open_desk

A, B = (KeyRecord(KeyId(name), name, b"", frozenset(Scope), 0.0, None, False) for name in "ab")


def test_a_key_at_its_own_limit_is_refused_by_itself_and_others_are_not() -> None:
    quota = Quota(DurableLimits(queued=10, per_key=3))
    quota.enter(A.id, 3)
    assert isinstance(quota.refusal(A.id, 1), KeyLimitError)
    assert quota.refusal(B.id, 3) is None
    quota.leave(A.id)
    assert quota.refusal(A.id, 1) is None
    assert isinstance(quota.refusal(A.id, 2), KeyLimitError)


def test_a_full_grid_refuses_everybody() -> None:
    quota = Quota(DurableLimits(queued=4, per_key=4))
    quota.enter(A.id, 4)
    assert isinstance(quota.refusal(B.id, 1), QueueFullError)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(KeyLimitError("Yours.", 30), 429, "key_limit"), (QueueFullError("Everybody's.", 7), 503, "queue_full")],
)
def test_whose_limit_it_is_shows_in_the_status(error: KeyLimitError | QueueFullError, status: int, code: str) -> None:
    reply = reply_to(error)
    assert (reply.status, reply.detail.code) == (status, code)
    assert (b"retry-after", b"%d" % error.retry_after_s) in reply.headers


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, queued=20, per_key=10) as made:
        yield made


def script(name: str, once: str | None = None) -> Submission:
    return Submission(name, PythonTask(files=(), entry=name), once, "body")


async def fill(desk: Desk, key: KeyRecord, count: int) -> None:
    await desk.jobs.submit_all(key, [script(f"{key.name}{n}") for n in range(count)])


async def test_what_is_submitted_counts_until_it_has_ended(desk: Desk) -> None:
    await fill(desk, A, 9)
    last, _ = await desk.jobs.submit(A, script("last"))
    with pytest.raises(KeyLimitError, match="10 unfinished jobs and may have 10"):
        await desk.jobs.submit(A, script("more"))
    await desk.jobs.cancel(last.id)
    await desk.jobs.submit(A, script("now it fits"))


async def test_a_bulk_over_the_limit_is_refused_whole(desk: Desk) -> None:
    await fill(desk, A, 5)
    with pytest.raises(KeyLimitError):
        await fill(desk, A, 6)
    assert len(await desk.store.jobs(A.id, (), (), 100)) == 5


async def test_asking_again_for_what_was_accepted_needs_no_room(desk: Desk) -> None:
    first, _ = await desk.jobs.submit(A, script("x", "once"))
    await fill(desk, A, 9)
    assert await desk.jobs.submit(A, script("x", "once")) == (first, False)
    with pytest.raises(KeyLimitError):
        await desk.jobs.submit(A, script("x", "another"))


async def test_a_refused_submission_takes_no_room(desk: Desk) -> None:
    await desk.jobs.submit(A, script("x", "once"))
    for _ in range(20):
        with pytest.raises(ConflictError):
            await desk.jobs.submit(A, Submission("x", PythonTask(files=(), entry="x"), "once", "another body"))
    await fill(desk, A, 9)


async def test_unfinished_jobs_count_after_a_restart(desk: Desk) -> None:
    await fill(desk, A, 10)
    await desk.jobs.close()
    await desk.start()
    with pytest.raises(KeyLimitError):
        await fill(desk, A, 1)


async def test_a_full_grid_is_nobodys_own_fault(desk: Desk) -> None:
    await fill(desk, A, 10)
    await fill(desk, B, 10)
    third = KeyRecord(KeyId("c"), "c", b"", frozenset(Scope), 0.0, None, False)
    with pytest.raises(QueueFullError, match="20 jobs are unfinished on the whole grid"):
        await fill(desk, third, 1)

"""The table of transitions against the statements: every event in every state, on a real database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from coordinator.durable.lifecycle import TRANSITIONS, JobEvent, after, before
from coordinator.errors import ConflictError
from coordinator.records import Completion, JobOutcome, JobState, LeaseEnd
from coordinator.store.base import Store
from coordinator.store.sqlite_store import SqliteStore
from gogrid.ids import JobId
from tests.conformance.store_values import ANNA, make_job

NOW = 20.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await SqliteStore.open(tmp_path / "coordinator.db")
    yield opened
    await opened.close()


async def in_state(store: Store, state: JobState) -> JobId:
    """A new job in this state; whatever lease it has or had is Anna's, of epoch 1."""
    job, _ = await store.submit(make_job(), None if state is JobState.QUEUED else ANNA)
    if state is JobState.RUNNING:
        await store.mark_running(job.id, 1, NOW)
    elif state is JobState.CANCELLED:
        await store.cancel(job.id, NOW)
    elif state is JobState.DEAD:
        await store.bury(job.id, 1, LeaseEnd.CRASHED, "boom", JobOutcome(state), NOW)
    elif state.final:
        await store.complete(job.id, 1, ANNA, JobOutcome(state), NOW)
    found = await store.job(job.id)
    assert found is not None
    assert found.state is state
    return job.id


async def _revive(store: Store, job_id: JobId) -> bool:
    try:
        await store.revive(job_id)
    except ConflictError:
        return False
    return True


async def _cancel(store: Store, job_id: JobId) -> bool:
    found = await store.job(job_id)
    assert found is not None
    return (await store.cancel(job_id, NOW)) != found


def _complete(state: JobState) -> Callable[[Store, JobId], Awaitable[bool]]:
    async def complete(store: Store, job_id: JobId) -> bool:
        completion = await store.complete(job_id, 1, ANNA, JobOutcome(state), NOW)
        return completion is Completion.ACCEPTED

    return complete


async def _forget(store: Store, job_id: JobId) -> bool:
    return await store.forget(NOW + 1, NOW + 1) == 1


TRIES: list[tuple[JobEvent, JobState | None, Callable[[Store, JobId], Awaitable[bool]]]] = [
    (JobEvent.CLAIM, JobState.LEASED, lambda store, job: _is_some(store.claim(job, ANNA))),
    (JobEvent.BEGIN, JobState.RUNNING, lambda store, job: store.mark_running(job, 1, NOW)),
    *((JobEvent.COMPLETE, state, _complete(state)) for state in TRANSITIONS[JobEvent.COMPLETE][1]),
    (
        JobEvent.GIVE_BACK,
        JobState.QUEUED,
        lambda store, job: store.give_back(job, 1, LeaseEnd.VANISHED, "gone", NOW),
    ),
    (
        JobEvent.BURY,
        JobState.DEAD,
        lambda store, job: store.bury(job, 1, LeaseEnd.CRASHED, "boom", JobOutcome(JobState.DEAD), NOW),
    ),
    (JobEvent.CANCEL, JobState.CANCELLED, _cancel),
    (JobEvent.FAIL, JobState.FAILED, lambda store, job: store.fail(job, JobOutcome(JobState.FAILED), NOW)),
    (JobEvent.REVIVE, JobState.QUEUED, _revive),
    (JobEvent.FORGET, None, _forget),
]


async def _is_some(found: Awaitable[int | None]) -> bool:
    return await found is not None


def test_every_event_is_tried_and_leads_where_the_table_says() -> None:
    assert {event for event, _, _ in TRIES} == set(TRANSITIONS) == set(JobEvent)
    for event, state, _ in TRIES:
        assert state is None or after(event, state) is state


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize(("event", "to", "act"), TRIES, ids=lambda value: getattr(value, "value", ""))
async def test_an_event_happens_exactly_where_the_table_allows_it(
    store: Store, state: JobState, event: JobEvent, to: JobState | None, act: Callable[[Store, JobId], Awaitable[bool]]
) -> None:
    job_id = await in_state(store, state)
    allowed = state in before(event)
    assert await act(store, job_id) is allowed
    found = await store.job(job_id)
    assert (None if found is None else found.state) is (to if allowed else state)


@pytest.mark.parametrize("state", [JobState.LEASED, JobState.RUNNING])
@pytest.mark.parametrize("epoch", [0, 2])
async def test_another_epoch_changes_nothing(store: Store, state: JobState, epoch: int) -> None:
    job_id = await in_state(store, state)
    before_all = await store.job(job_id)
    assert not await store.mark_running(job_id, epoch, NOW)
    assert not await store.give_back(job_id, epoch, LeaseEnd.VANISHED, "gone", NOW)
    assert not await store.bury(job_id, epoch, LeaseEnd.CRASHED, "boom", JobOutcome(JobState.DEAD), NOW)
    assert await store.complete(job_id, epoch, ANNA, JobOutcome(JobState.DONE), NOW) is Completion.FENCED
    assert (await store.job(job_id), await store.attempts(job_id)) == (before_all, [])

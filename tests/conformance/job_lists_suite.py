"""What every `Store` promises of questions about many jobs; derives like `store_suite`."""

from dataclasses import replace

import pytest

from coordinator.errors import NotFoundError
from coordinator.records import JobKind, JobOutcome, JobState, NewJob
from coordinator.store.base import Store
from gogrid.ids import JobId, KeyId, Sha256, new_job_id
from gogrid.protocol.tasks import ChatMessage, ChatTask, ModelRef, Sampling
from tests.conformance.store_values import ANNA, make_job


class JobListSuite:
    async def test_pages_follow_each_other(self, store: Store) -> None:
        ids = [(await store.submit(make_job()))[0].id for _ in range(5)]
        first = await store.jobs(None, (), (), 2)
        second = await store.jobs(None, (), (), 9, first[-1].id)
        assert [job.id for job in (*first, *second)] == ids[::-1]
        with pytest.raises(NotFoundError):
            await store.jobs(None, (), (), 2, JobId("job_none"))

    async def test_lists_leave_out_what_models_were_asked_and_answered(self, store: Store) -> None:
        message = ChatMessage(role="user", content="long " * 1000)
        task = ChatTask(model=ModelRef(name="m", digest=Sha256("0" * 64)), messages=(message,), sampling=Sampling())
        chat = NewJob(new_job_id(), KeyId("key_1"), JobKind.CHAT, task, "m", 10.0)
        await store.submit(chat, ANNA)
        await store.complete(chat.id, 1, ANNA, JobOutcome(JobState.DONE, b"an answer"), 20.0)
        script, _ = await store.submit(make_job())
        listed = {job.id: job for job in await store.jobs(None, (), (), 9)}
        assert listed[chat.id].task is None
        assert listed[chat.id].outcome == JobOutcome(JobState.DONE)
        assert listed[script.id].task == script.task
        whole = await store.job(chat.id)
        assert whole is not None
        assert (whole.task, whole.outcome) == (task, JobOutcome(JobState.DONE, b"an answer"))

    async def test_jobs_are_found_by_the_beginning_of_their_id_and_by_their_key(self, store: Store) -> None:
        ids = [JobId("job_1" + "a" * 31), JobId("job_1" + "b" * 31), JobId("job_2" + "a" * 31)]
        for job_id in ids:
            await store.submit(replace(make_job(key=f"once {job_id}"), id=job_id))
        assert await store.job_ids("job_1", KeyId("key_1"), 9) == ids[:2]
        assert await store.job_ids("job_1", None, 1) == ids[:1]
        assert await store.job_ids("job_1", KeyId("key_2"), 9) == []
        assert await store.job_ids("job_%", None, 9) == []
        found = await store.submitted(KeyId("key_1"), f"once {ids[2]}")
        assert found is not None
        assert found.id == ids[2]
        assert await store.submitted(KeyId("key_2"), f"once {ids[2]}") is None

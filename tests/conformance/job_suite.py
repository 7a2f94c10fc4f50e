"""What every `Store` promises of durable jobs; part of `StoreSuite`."""

import asyncio

import pytest

from coordinator.errors import ConflictError, NotFoundError
from coordinator.records import (
    Attempt,
    Completion,
    JobKind,
    JobOutcome,
    JobState,
    LeaseEnd,
    LogLine,
    Report,
)
from coordinator.store.base import Store
from gogrid.ids import JobId, KeyId
from tests.conformance.store_values import (
    ANNA,
    BERT,
    DONE,
    Reopen,
    give_back,
    leased,
    make_job,
)


class JobSuite:
    async def test_a_submitted_job_comes_back_whole(self, store: Store, reopen: Reopen) -> None:
        new = make_job()
        job, is_new = await store.submit(new)
        assert is_new
        assert (job.id, job.state, job.epoch, job.attempts, job.task) == (new.id, JobState.QUEUED, 0, 0, new.task)
        assert await (await reopen()).job(new.id) == job

    async def test_the_same_idempotency_key_gives_the_same_job(self, store: Store) -> None:
        first, _ = await store.submit(make_job(key="once", body="b1"))
        again, is_new = await store.submit(make_job(key="once", body="b1"))
        assert (again, is_new) == (first, False)
        other, is_new = await store.submit(make_job(owner="key_2", key="once", body="b2"))
        assert is_new
        assert other.id != first.id

    async def test_the_same_idempotency_key_with_another_body_is_refused(self, store: Store) -> None:
        await store.submit(make_job(key="once", body="b1"))
        with pytest.raises(ConflictError, match="idempotency"):
            await store.submit(make_job(key="once", body="b2"))

    async def test_100_retries_at_once_make_one_job(self, store: Store) -> None:
        results = await asyncio.gather(*(store.submit(make_job(key="once", body="b")) for _ in range(100)))
        assert len({job.id for job, _ in results}) == 1
        assert sum(is_new for _, is_new in results) == 1

    async def test_a_job_raced_by_two_workers_is_leased_to_one(self, store: Store) -> None:
        job, _ = await store.submit(make_job())
        epochs = await asyncio.gather(store.claim(job.id, ANNA), store.claim(job.id, BERT))
        assert sorted(epochs, key=str) == [1, None]

    async def test_of_many_claims_each_queued_job_goes_to_the_first_that_asks(self, store: Store) -> None:
        free, taken = [(await store.submit(make_job(), worker))[0].id for worker in (None, BERT)]
        wanted = [(free, ANNA), (taken, ANNA), (free, BERT), (JobId("job_unknown"), ANNA)]
        assert await store.claim_all(wanted) == [1, None, None, None]
        found = await store.job(free)
        assert found is not None
        assert (found.worker, found.epoch, found.attempts) == (ANNA, 1, 1)

    async def test_of_many_ends_each_counts_once_and_only_for_its_lease(self, store: Store) -> None:
        mine, other, late = [(await store.submit(make_job(), ANNA))[0].id for _ in range(3)]
        assert await store.give_back(late, 1, LeaseEnd.YIELDED, "", 5.0)
        assert await store.claim(late, BERT) == 2
        ends = [
            Report(mine, 1, ANNA, DONE, 20.0, 19.0),
            Report(late, 1, ANNA, DONE, 20.0),
            Report(mine, 1, ANNA, DONE, 20.0),
            Report(other, 1, BERT, DONE, 20.0),
            Report(other, 1, ANNA, DONE, 20.0),
        ]
        accepted, already, fenced = Completion.ACCEPTED, Completion.ALREADY, Completion.FENCED
        assert await store.complete_all(ends) == [accepted, fenced, already, fenced, accepted]
        assert await store.complete_all(ends[:1]) == [already]
        states = [found.state for job_id in (mine, other, late) if (found := await store.job(job_id)) is not None]
        assert states == [JobState.DONE, JobState.DONE, JobState.LEASED]
        ended = await store.job(mine)
        assert ended is not None
        assert (ended.started_at, ended.finished_at, ended.outcome) == (19.0, 20.0, DONE)

    async def test_the_usual_life_of_a_job(self, store: Store) -> None:
        job_id, epoch = await leased(store)
        assert await store.mark_running(job_id, epoch, 11.0)
        assert await store.mark_running(job_id, epoch, 12.0)
        assert await store.complete(job_id, epoch, ANNA, DONE, 20.0) is Completion.ACCEPTED
        job = await store.job(job_id)
        assert job is not None
        assert (job.state, job.worker, job.attempts, job.started_at, job.finished_at, job.outcome) == (
            JobState.DONE, ANNA, 1, 11.0, 20.0, DONE,
        )  # fmt: skip

    async def test_a_completion_whose_acknowledgement_was_lost_is_known(self, store: Store) -> None:
        job_id, epoch = await leased(store)
        assert await store.complete(job_id, epoch, ANNA, DONE, 20.0) is Completion.ACCEPTED
        assert await store.complete(job_id, epoch, ANNA, DONE, 21.0) is Completion.ALREADY

    async def test_a_zombies_completion_is_fenced(self, store: Store) -> None:
        job_id, old = await leased(store)
        assert await give_back(store, job_id, old)
        assert await store.complete(job_id, old, ANNA, DONE, 20.0) is Completion.FENCED
        new = await store.claim(job_id, BERT)
        assert new == old + 1
        assert await store.complete(job_id, old, ANNA, DONE, 20.0) is Completion.FENCED
        assert await store.complete(job_id, new, ANNA, DONE, 20.0) is Completion.FENCED
        assert not await store.mark_running(job_id, old, 20.0)
        assert not await give_back(store, job_id, old)
        assert await store.complete(job_id, new, BERT, DONE, 20.0) is Completion.ACCEPTED
        assert await store.complete(job_id, old, ANNA, DONE, 21.0) is Completion.FENCED

    async def test_a_cancelled_job_stays_cancelled(self, store: Store) -> None:
        job_id, epoch = await leased(store)
        cancelled = await store.cancel(job_id, 15.0)
        assert (cancelled.state, cancelled.finished_at) == (JobState.CANCELLED, 15.0)
        assert await store.complete(job_id, epoch, ANNA, DONE, 20.0) is Completion.FENCED
        assert not await give_back(store, job_id, epoch)
        assert await store.claim(job_id, BERT) is None
        assert await store.cancel(job_id, 99.0) == cancelled

    async def test_cancelling_an_ended_or_unknown_job(self, store: Store) -> None:
        job_id, epoch = await leased(store)
        await store.complete(job_id, epoch, ANNA, DONE, 20.0)
        assert (await store.cancel(job_id, 30.0)).state is JobState.DONE
        with pytest.raises(NotFoundError):
            await store.cancel(JobId("job_none"), 1.0)

    async def test_only_a_queued_job_can_fail_without_a_lease(self, store: Store) -> None:
        gone = JobOutcome(JobState.FAILED, error_code="model_unusable", error="Its model is gone.")
        job_id, epoch = await leased(store)
        assert not await store.fail(job_id, gone, 20.0)
        await give_back(store, job_id, epoch)
        assert await store.fail(job_id, gone, 20.0)
        job = await store.job(job_id)
        assert job is not None
        assert job.outcome == gone

    async def test_no_job_ends_in_a_state_that_is_no_end(self, store: Store) -> None:
        job_id, epoch = await leased(store)
        with pytest.raises(ValueError, match="cannot end"):
            await store.complete(job_id, epoch, ANNA, JobOutcome(JobState.RUNNING), 20.0)


class LeaseSuite:
    async def test_a_job_submitted_with_its_lease_is_leased_in_the_same_commit(
        self, store: Store, reopen: Reopen
    ) -> None:
        job, is_new = await store.submit(make_job(key="once", body="b"), ANNA)
        assert (is_new, job.state, job.epoch, job.attempts, job.worker) == (True, JobState.LEASED, 1, 1, ANNA)
        assert await (await reopen()).job(job.id) == job
        assert await store.submit(make_job(key="once", body="b"), BERT) == (job, False)
        assert await store.complete(job.id, 1, ANNA, DONE, 20.0) is Completion.ACCEPTED

    async def test_a_bulk_comes_in_whole_and_in_order(self, store: Store) -> None:
        wanted = [(make_job(), worker) for worker in (None, ANNA, None)]
        stored = await store.submit_all(wanted)
        assert [(record.id, new) for record, new in stored] == [(job.id, True) for job, _ in wanted]
        assert [await store.job(job.id) for job, _ in wanted] == [record for record, _ in stored]
        assert [found.record for found in await store.unfinished()] == [record for record, _ in stored]

    async def test_of_a_bulk_with_one_refused_job_nothing_is_stored(self, store: Store) -> None:
        await store.submit(make_job(key="once", body="b1"))
        with pytest.raises(ConflictError):
            await store.submit_all([(make_job(), None), (make_job(key="once", body="b2"), None)])
        assert len(await store.jobs(None, (), (), 10)) == 1

    async def test_a_bulk_may_hold_the_same_request_twice(self, store: Store) -> None:
        (first, new), (again, new_again) = await store.submit_all([(make_job(key="once"), None)] * 2)
        assert (first.id, new, new_again) == (again.id, True, False)

    async def test_a_completion_says_when_the_job_began_if_nobody_did_before(self, store: Store) -> None:
        job_id, epoch = await leased(store)
        await store.complete(job_id, epoch, ANNA, DONE, 20.0, 19.5)
        job = await store.job(job_id)
        assert job is not None
        assert job.started_at == 19.5

    async def test_a_lease_that_crashed_is_counted_recorded_and_waits(self, store: Store) -> None:
        job_id, epoch = await leased(store)
        await store.mark_running(job_id, epoch, 11.0)
        assert await store.give_back(job_id, epoch, LeaseEnd.CRASHED, "the engine died", 12.0, 17.0)
        job = await store.job(job_id)
        assert job is not None
        assert (job.state, job.worker, job.started_at, job.not_before, job.crashes) == (
            JobState.QUEUED, None, None, 17.0, 1,
        )  # fmt: skip
        assert await store.attempts(job_id) == [
            Attempt(job_id, epoch, ANNA, 11.0, 12.0, LeaseEnd.CRASHED, "the engine died")
        ]
        assert await store.claim(job_id, BERT) == epoch + 1
        assert (await store.job(job_id)).not_before is None  # type: ignore[union-attr]

    async def test_a_lease_given_back_counts_as_no_crash_and_a_refused_one_leaves_no_trace(self, store: Store) -> None:
        job_id, epoch = await leased(store)
        for end in LeaseEnd:
            assert await give_back(store, job_id, epoch, end)
            assert not await give_back(store, job_id, epoch, end)
            epoch += 1
            assert await store.claim(job_id, ANNA) == epoch
        job = await store.job(job_id)
        assert job is not None
        assert job.crashes == 3
        recorded = [attempt.ended for attempt in await store.attempts(job_id)]
        assert recorded == [
            LeaseEnd.CRASHED,
            LeaseEnd.ERRORED,
            LeaseEnd.IN_COMPANY,
            LeaseEnd.VANISHED,
            LeaseEnd.FENCED,
            LeaseEnd.YIELDED,
            LeaseEnd.OWNER_RETURNED,
        ]

    async def test_a_poison_job_is_buried_by_its_lease_only_and_can_be_tried_again(self, store: Store) -> None:
        dead = JobOutcome(JobState.DEAD, error_code="worker_lost", error="It crashed 3 times.")
        job_id, epoch = await leased(store)
        assert not await store.bury(job_id, epoch - 1, LeaseEnd.CRASHED, "boom", dead, 20.0)
        assert await store.bury(job_id, epoch, LeaseEnd.CRASHED, "boom", dead, 20.0)
        assert not await store.bury(job_id, epoch, LeaseEnd.CRASHED, "boom", dead, 21.0)
        assert len(await store.attempts(job_id)) == 1
        again = await store.revive(job_id)
        assert (again.state, again.epoch, again.crashes, again.finished_at, again.outcome) == (
            JobState.QUEUED, epoch, 0, None, None,
        )  # fmt: skip
        assert await store.claim(job_id, BERT) == epoch + 1
        assert await store.complete(job_id, epoch, ANNA, DONE, 30.0) is Completion.FENCED
        assert await store.complete(job_id, epoch + 1, BERT, DONE, 30.0) is Completion.ACCEPTED

    async def test_only_a_dead_or_failed_job_whose_task_is_kept_can_be_tried_again(self, store: Store) -> None:
        job_id, epoch = await leased(store)
        with pytest.raises(ConflictError, match="leased"):
            await store.revive(job_id)
        await store.complete(job_id, epoch, ANNA, JobOutcome(JobState.FAILED, error_code="exit"), 20.0)
        assert (await store.revive(job_id)).state is JobState.QUEUED
        with pytest.raises(NotFoundError):
            await store.revive(JobId("job_none"))
        request = make_job()
        store.record_request(request, ANNA, JobOutcome(JobState.FAILED), 12.0)
        while await store.job(request.id) is None:
            await asyncio.sleep(0.01)
        with pytest.raises(ConflictError, match="not kept"):
            await store.revive(request.id)

    async def test_after_a_restart_every_unfinished_job_is_as_it_was_oldest_first(
        self, store: Store, reopen: Reopen
    ) -> None:
        first, epoch = await leased(store)
        await store.mark_running(first, epoch, 11.0)
        second, _ = await leased(store, BERT)
        third = (await store.submit(make_job()))[0].id
        ended, epoch_of_ended = await leased(store)
        await store.complete(ended, epoch_of_ended, ANNA, DONE, 20.0)
        await store.close()
        again = await reopen()
        found = [(job.record.id, job.record.state, job.record.worker) for job in await again.unfinished()]
        assert found == [
            (first, JobState.RUNNING, ANNA), (second, JobState.LEASED, BERT), (third, JobState.QUEUED, None),
        ]  # fmt: skip
        assert await again.complete(first, epoch, ANNA, DONE, 20.0) is Completion.ACCEPTED

    async def test_after_a_restart_it_is_known_where_a_job_crashed_since_it_was_last_revived(
        self, store: Store
    ) -> None:
        job_id, epoch = await leased(store)
        await store.bury(job_id, epoch, LeaseEnd.CRASHED, "boom", JobOutcome(JobState.DEAD), 20.0)
        await store.revive(job_id)
        for worker, end in ((BERT, LeaseEnd.CRASHED), (ANNA, LeaseEnd.YIELDED), (BERT, LeaseEnd.VANISHED)):
            epoch += 1
            assert await store.claim(job_id, worker) == epoch
            await give_back(store, job_id, epoch, end)
        (found,) = await store.unfinished()
        assert (found.crashed_on, found.alone) == ((BERT, BERT), True)

    @pytest.mark.parametrize(
        ("end", "alone"),
        [(LeaseEnd.IN_COMPANY, True), (LeaseEnd.CRASHED, True), (LeaseEnd.VANISHED, False), (LeaseEnd.YIELDED, False)],
    )
    async def test_after_a_restart_it_is_known_who_has_to_run_alone(
        self, store: Store, end: LeaseEnd, alone: bool
    ) -> None:
        job_id, epoch = await leased(store)
        await give_back(store, job_id, epoch, end)
        (found,) = await store.unfinished()
        assert (found.alone, found.record.crashes) == (alone, int(end.is_crash))

    async def test_jobs_are_listed_newest_first_and_filtered(self, store: Store) -> None:
        mine = [(await store.submit(make_job()))[0].id for _ in range(3)]
        theirs = (await store.submit(make_job(owner="key_2")))[0].id
        await store.cancel(mine[1], 20.0)

        async def listed(owner: str | None, states: tuple[JobState, ...] = (), limit: int = 10) -> list[JobId]:
            jobs = await store.jobs(None if owner is None else KeyId(owner), states, (), limit)
            return [job.id for job in jobs]

        assert await listed(None) == [theirs, *reversed(mine)]
        assert await listed("key_1", limit=2) == [mine[2], mine[1]]
        assert await listed("key_1", (JobState.CANCELLED,)) == [mine[1]]
        assert await store.jobs(None, (), (JobKind.CHAT,), 10) == []

    async def test_old_jobs_are_forgotten_with_their_logs_and_attempts(self, store: Store) -> None:
        job_id, epoch = await leased(store)
        await give_back(store, job_id, epoch)
        epoch = await store.claim(job_id, ANNA) or 0
        store.append_logs(job_id, epoch, [LogLine(1, "stdout", b"x")])
        await store.complete(job_id, epoch, ANNA, DONE, 20.0)
        kept, _ = await leased(store)
        assert await store.forget(20.0, 20.0) == 0
        assert await store.forget(20.1, 20.1) == 1
        assert await store.job(job_id) is None
        assert await store.attempts(job_id) == []
        assert await store.job(kept) is not None

    async def test_dead_jobs_are_kept_for_their_own_time(self, store: Store) -> None:
        job_id, epoch = await leased(store)
        await store.bury(job_id, epoch, LeaseEnd.CRASHED, "boom", JobOutcome(JobState.DEAD), 20.0)
        assert await store.forget(30.0, 20.0) == 0
        assert await store.forget(30.0, 20.1) == 1

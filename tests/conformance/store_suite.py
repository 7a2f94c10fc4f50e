"""What every `Store` promises; a test module derives from `StoreSuite` and opens its own store.

The fixture `reopen` opens another handle on the same data: what a second process, or the next start, would see.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec
import pytest

from coordinator.errors import ConflictError, NotFoundError, TokenRefusedError
from coordinator.records import (
    Attempt,
    Completion,
    JobKind,
    JobOutcome,
    JobState,
    KeyRecord,
    LeaseEnd,
    LogLine,
    ModelKind,
    ModelRecord,
    NewJob,
    Report,
    Scope,
    TokenRecord,
    WorkerRecord,
    WorkerStatus,
)
from coordinator.store.base import Store
from gogrid.ids import JobId, KeyId, Sha256, WorkerId, new_job_id, new_worker_id
from gogrid.protocol.messages import PythonDone
from gogrid.protocol.tasks import ChatMessage, ChatTask, InputFile, ModelRef, PythonTask, Sampling

ANNA, BERT = WorkerId("wk_anna"), WorkerId("wk_bert")
DONE = JobOutcome(JobState.DONE, msgspec.msgpack.encode(PythonDone(exit_code=0, ended="exit")))
Reopen = Callable[[], Awaitable[Store]]


def make_token(
    token_id: str = "t" * 16, uses: int = 1, expires_at: float = 1000.0, revoked: bool = False
) -> TokenRecord:
    return TokenRecord(token_id, b"p" * 32, "lab", 1.0, expires_at, uses, 0, False, revoked)


def make_worker(key: bytes = b"w" * 32, token_id: str = "t" * 16) -> WorkerRecord:
    return WorkerRecord(new_worker_id(), "box", key, WorkerStatus.APPROVED, False, 0, 5.0, token_id)


def make_job(owner: str = "key_1", key: str | None = None, body: str = "") -> NewJob:
    task = PythonTask(files=(InputFile(name="a.py", sha256=Sha256("0" * 64), size=3),), entry="a.py")
    return NewJob(new_job_id(), KeyId(owner), JobKind.PYTHON, task, "a.py", 10.0, key, body)


def make_model(name: str = "smol", digest: str = "a" * 64) -> ModelRecord:
    return ModelRecord(name, Sha256(digest), ModelKind.CHAT, "torch", 10, 20, 4096, 0, 1.0)


async def leased(store: Store, worker: WorkerId = ANNA) -> tuple[JobId, int]:
    job, _ = await store.submit(make_job())
    epoch = await store.claim(job.id, worker)
    assert epoch is not None
    return job.id, epoch


async def give_back(store: Store, job_id: JobId, epoch: int, end: LeaseEnd = LeaseEnd.VANISHED) -> bool:
    return await store.give_back(job_id, epoch, end, "it vanished", 12.0)


class EnrolmentSuite:
    async def test_a_token_comes_back_as_it_was_stored(self, store: Store) -> None:
        await store.add_token(make_token())
        assert await store.tokens() == [make_token()]

    async def test_a_token_is_used_once(self, store: Store) -> None:
        await store.add_token(make_token())
        worker = make_worker()
        assert await store.redeem("t" * 16, worker, 5.0) == worker
        assert await store.workers() == [worker]
        with pytest.raises(TokenRefusedError, match="used up"):
            await store.redeem("t" * 16, make_worker(b"x" * 32), 5.0)

    async def test_one_use_raced_by_100_workers_gives_exactly_one(self, store: Store) -> None:
        await store.add_token(make_token())
        keys = [bytes([number]) * 32 for number in range(100)]
        results = await asyncio.gather(
            *(store.redeem("t" * 16, make_worker(key), 5.0) for key in keys), return_exceptions=True
        )
        assert sum(isinstance(result, WorkerRecord) for result in results) == 1
        assert sum(isinstance(result, TokenRefusedError) for result in results) == 99
        assert len(await store.workers()) == 1
        assert [token.uses for token in await store.tokens()] == [1]

    async def test_the_same_worker_may_redeem_again_because_the_answer_was_lost(self, store: Store) -> None:
        await store.add_token(make_token())
        first = await store.redeem("t" * 16, make_worker(), 5.0)
        assert await store.redeem("t" * 16, make_worker(), 2000.0) == first
        assert [token.uses for token in await store.tokens()] == [1]

    @pytest.mark.parametrize(
        ("token", "why"),
        [
            (make_token(expires_at=5.0), "expired"),
            (make_token(revoked=True), "revoked"),
            (make_token("u" * 16), "known"),
        ],
    )
    async def test_a_useless_token_is_refused_with_the_reason(self, store: Store, token: TokenRecord, why: str) -> None:
        await store.add_token(token)
        with pytest.raises(TokenRefusedError, match=why):
            await store.redeem("t" * 16, make_worker(), 5.0)
        assert await store.workers() == []

    async def test_a_revoked_token_is_refused(self, store: Store) -> None:
        await store.add_token(make_token())
        await store.revoke_token("t" * 16)
        with pytest.raises(TokenRefusedError, match="revoked"):
            await store.redeem("t" * 16, make_worker(), 5.0)
        with pytest.raises(NotFoundError):
            await store.revoke_token("nope")

    async def test_a_revoked_worker_returns_only_with_another_token(self, store: Store) -> None:
        await store.add_token(make_token(uses=5))
        await store.add_token(make_token("u" * 16))
        worker = await store.redeem("t" * 16, make_worker(), 5.0)
        await store.set_worker_status(worker.id, WorkerStatus.REVOKED)
        with pytest.raises(TokenRefusedError, match="revoked"):
            await store.redeem("t" * 16, make_worker(), 5.0)
        back = await store.redeem("u" * 16, make_worker(token_id="u" * 16), 5.0)
        assert (back.id, back.status) == (worker.id, WorkerStatus.APPROVED)
        assert [token.uses for token in await store.tokens()] == [1, 1]

    async def test_an_enrolled_worker_wastes_no_second_token(self, store: Store) -> None:
        await store.add_token(make_token())
        await store.add_token(make_token("u" * 16))
        worker = await store.redeem("t" * 16, make_worker(), 5.0)
        assert await store.redeem("u" * 16, make_worker(token_id="u" * 16), 5.0) == worker
        assert sum(token.uses for token in await store.tokens()) == 1

    async def test_worker_status_draining_and_session_epoch(self, store: Store) -> None:
        await store.add_token(make_token())
        worker = await store.redeem("t" * 16, make_worker(), 5.0)
        await store.set_worker_status(worker.id, WorkerStatus.PENDING)
        await store.set_worker_draining(worker.id, True)
        assert [await store.open_session(worker.id) for _ in range(3)] == [1, 2, 3]
        expected = replace(worker, status=WorkerStatus.PENDING, draining=True, session_epoch=3)
        assert await store.workers() == [expected]

    async def test_a_workers_health_comes_back(self, store: Store) -> None:
        await store.add_token(make_token())
        worker = await store.redeem("t" * 16, make_worker(), 5.0)
        crashed = (JobId("job_a"), JobId("job_b"))
        await store.set_worker_health(worker.id, crashed, "3 jobs in a row crashed on it")
        expected = replace(worker, crashed_jobs=crashed, quarantined="3 jobs in a row crashed on it")
        assert await store.workers() == [expected]

    async def test_an_unknown_worker_is_not_found(self, store: Store) -> None:
        for change in (
            store.set_worker_health(ANNA, (), ""),
            store.set_worker_status(ANNA, WorkerStatus.REVOKED),
            store.set_worker_draining(ANNA, True),
            store.open_session(ANNA),
        ):
            with pytest.raises(NotFoundError):
                await change

    async def test_keys_come_back_and_can_be_revoked(self, store: Store) -> None:
        key = KeyRecord(KeyId("key_1"), "ann", b"s" * 32, frozenset({Scope.JOBS, Scope.ADMIN}), 1.0, None, False)
        await store.add_key(key)
        assert await store.keys() == [key]
        await store.revoke_key(key.id)
        assert await store.keys() == [replace(key, revoked=True)]
        with pytest.raises(NotFoundError):
            await store.revoke_key(KeyId("key_2"))

    async def test_a_model_name_belongs_to_one_content(self, store: Store) -> None:
        await store.add_model(make_model())
        await store.add_model(make_model())
        with pytest.raises(ConflictError):
            await store.add_model(make_model(digest="b" * 64))
        assert await store.models() == [make_model()]
        assert await store.remove_model("smol") == make_model()
        with pytest.raises(NotFoundError):
            await store.remove_model("smol")

    async def test_a_change_of_another_process_is_seen_once_and_an_own_one_never(
        self, store: Store, reopen: Reopen
    ) -> None:
        await store.add_model(make_model())
        assert not await store.changed_elsewhere()
        other = await reopen()
        await other.add_token(make_token())
        assert await store.changed_elsewhere()
        assert not await store.changed_elsewhere()


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
        assert job.crashes == 2
        recorded = [attempt.ended for attempt in await store.attempts(job_id)]
        assert recorded == [LeaseEnd.CRASHED, LeaseEnd.VANISHED, LeaseEnd.YIELDED]

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
        assert found.crashed_on == (BERT, BERT)

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


class WriteBehindSuite:
    async def test_an_interactive_request_is_remembered_without_its_text(self, store: Store, reopen: Reopen) -> None:
        message = ChatMessage(role="user", content="something private")
        task = ChatTask(model=ModelRef(name="m", digest=Sha256("0" * 64)), messages=(message,), sampling=Sampling())
        new = NewJob(new_job_id(), KeyId("key_1"), JobKind.CHAT, task, "m", 10.0)
        store.record_request(new, ANNA, DONE, 12.0)
        await store.close()
        job = await (await reopen()).job(new.id)
        assert job is not None
        assert (job.state, job.worker, job.task, job.created_at, job.finished_at) == (
            JobState.DONE, ANNA, None, 10.0, 12.0,
        )  # fmt: skip

    async def test_logs_are_read_before_and_after_they_are_on_disk(self, store: Store, reopen: Reopen) -> None:
        job_id, epoch = await leased(store)
        lines = [LogLine(seq, "stdout", b"line %d" % seq) for seq in range(1, 6)]
        store.append_logs(job_id, epoch, lines[:3])
        assert await store.logs(job_id, 0, 10) == lines[:3]
        store.append_logs(job_id, epoch, lines[2:])
        assert await store.logs(job_id, 1, 2) == lines[1:3]
        await store.close()
        assert await (await reopen()).logs(job_id, 0, 10) == lines

    async def test_logs_show_the_current_lease_only(self, store: Store) -> None:
        job_id, old = await leased(store)
        store.append_logs(job_id, old, [LogLine(1, "stdout", b"from the first try")])
        await give_back(store, job_id, old)
        new = await store.claim(job_id, BERT)
        assert new is not None
        store.append_logs(job_id, old, [LogLine(2, "stdout", b"from a zombie")])
        store.append_logs(job_id, new, [LogLine(1, "stderr", b"from the second try")])
        assert await store.logs(job_id, 0, 10) == [LogLine(1, "stderr", b"from the second try")]
        assert await store.logs(JobId("job_none"), 0, 10) == []

    async def test_lines_of_a_job_that_is_gone_hold_nothing_up(self, store: Store, reopen: Reopen) -> None:
        job_id, epoch = await leased(store)
        store.append_logs(JobId("job_none"), 1, [LogLine(1, "stdout", b"lost")])
        store.append_logs(job_id, epoch, [LogLine(1, "stdout", b"kept")])
        await store.close()
        assert await (await reopen()).logs(job_id, 0, 10) == [LogLine(1, "stdout", b"kept")]

    async def test_what_can_never_be_stored_is_given_up_and_holds_nothing_up(self, store: Store) -> None:
        job_id, epoch = await leased(store)
        store.record_request(replace(make_job(), label="\ud800"), ANNA, DONE, 12.0)
        await asyncio.sleep(0.2)  # until it was tried
        store.append_logs(job_id, epoch, [LogLine(1, "stdout", b"kept")])
        remembered = make_job()
        store.record_request(remembered, ANNA, DONE, 12.0)
        while await store.job(remembered.id) is None:
            await asyncio.sleep(0.01)
        assert await store.logs(job_id, 0, 10) == [LogLine(1, "stdout", b"kept")]

    async def test_closing_twice_is_fine(self, store: Store) -> None:
        await store.close()
        await store.close()


class StoreSuite(EnrolmentSuite, JobSuite, WriteBehindSuite):
    """Everything; `store` and `reopen` are fixtures of the deriving module."""

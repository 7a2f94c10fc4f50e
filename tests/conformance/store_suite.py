"""What every `Store` promises; a test module derives from `StoreSuite` and opens its own store.

The fixture `reopen` opens another handle on the same data: what a second process, or the next start, would see.
"""

import asyncio
from dataclasses import replace

import pytest

from coordinator.errors import ConflictError, NotFoundError, TokenRefusedError
from coordinator.records import (
    JobKind,
    JobState,
    KeyRecord,
    LogLine,
    NewJob,
    Scope,
    TokenRecord,
    WorkerRecord,
    WorkerStatus,
)
from coordinator.store.base import Store
from gogrid.ids import JobId, KeyId, Sha256, new_job_id
from gogrid.protocol.tasks import ChatMessage, ChatTask, ModelRef, Sampling
from tests.conformance.job_suite import JobSuite, LeaseSuite
from tests.conformance.store_values import (
    ANNA,
    BERT,
    DONE,
    Reopen,
    give_back,
    leased,
    make_job,
    make_model,
    make_token,
    make_worker,
)


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


class StoreSuite(EnrolmentSuite, JobSuite, LeaseSuite, WriteBehindSuite):
    """Everything; `store` and `reopen` are fixtures of the deriving module."""

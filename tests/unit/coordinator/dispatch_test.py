"""What happens to requests and jobs when workers answer, fail, vanish or come back: real store, links in memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from coordinator.blobs import BlobStore
from coordinator.dispatch import Dispatcher
from coordinator.durable import ATTEMPTS, DurableJobs, DurableLimits
from coordinator.errors import JobFailedError, NoWorkerError, QueueFullError
from coordinator.interactive import InteractiveRequests, RequestLimits
from coordinator.records import JobRecord, JobState, KeyRecord, LogLine, ModelKind, ModelRecord, Scope
from coordinator.scheduler import Scheduler
from coordinator.store.sqlite_store import SqliteStore
from coordinator.tally import Tally
from coordinator.tickets import Ticket
from gogrid.ids import KeyId, Sha256
from gogrid.manifest import digest_of
from gogrid.protocol.messages import (
    LINES_PER_LEASE,
    Device,
    DeviceKind,
    FailCode,
    Failed,
    Finished,
    Heartbeat,
    HeartbeatAck,
    LeaseHeld,
    Log,
    OutputFile,
    PythonDone,
    Readiness,
    Refuse,
    Started,
    TextDone,
    Tokens,
    WorkerReport,
)
from gogrid.protocol.tasks import ChatMessage, ChatTask, ModelRef, PythonTask, Sampling
from tests.fakes.links import MemoryLink

KEY = KeyRecord(KeyId("k"), "key", b"", frozenset(Scope), 0.0, None, False)
MODEL = ModelRecord("m", Sha256("a" * 64), ModelKind.CHAT, "echo", 0, 100, 8192, 0, 0.0)
TASK = ChatTask(
    model=ModelRef(name="m", digest=MODEL.digest),
    messages=(ChatMessage(role="user", content="hi"),),
    sampling=Sampling(),
)
SCRIPT = PythonTask(files=(), entry="main.py")
REPORT = WorkerReport(
    software="t",
    hostname="h",
    platform="p",
    readiness=Readiness.READY,
    reason="ready",
    devices=(Device(kind=DeviceKind.CPU, name="c", memory_bytes=1 << 40, cap_bytes=1 << 40, why=""),),
    engines=("echo",),
    sandbox="s",
    python_jobs=True,
    cores=4,
)
DONE = Finished(result=TextDone(finish_reason="stop", prompt_tokens=3, completion_tokens=1))
SCRIPT_DONE = Finished(result=PythonDone(exit_code=0, ended="exit"))


@dataclass
class Desk:
    dispatcher: Dispatcher
    scheduler: Scheduler
    requests: InteractiveRequests
    jobs: DurableJobs
    store: SqliteStore
    tally: Tally
    blobs: BlobStore
    now: list[float]

    def worker(self, name: str) -> MemoryLink:
        link = MemoryLink(name)
        self.dispatcher.connected(link)
        self.dispatcher.reported(link, REPORT)
        return link

    def chat(self) -> Ticket:
        return self.requests.submit(KEY, MODEL, TASK)

    async def script(self) -> JobRecord:
        record, _ = await self.jobs.submit(KEY, "main.py", SCRIPT, None, "")
        return record

    async def until_assigned(self, link: MemoryLink, count: int = 1) -> None:
        while len(link.assigned()) < count:
            await asyncio.sleep(0)

    async def state(self, record: JobRecord) -> JobState:
        await self.jobs.close()
        found = await self.store.job(record.id)
        assert found is not None
        return found.state


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    now = [0.0]
    store = await SqliteStore.open(tmp_path / "coordinator.db")
    scheduler, tally, blobs = Scheduler(30.0), Tally(), BlobStore(tmp_path / "blobs")
    dispatcher = Dispatcher(scheduler, lambda: now[0], lambda: 1e9)
    requests = InteractiveRequests(
        dispatcher, store, RequestLimits(queued=2, per_key=12, patience_s=60.0), tally, lambda: 1e9
    )
    jobs = DurableJobs(dispatcher, store, blobs, DurableLimits(queued=10), tally, lambda: 1e9)
    yield Desk(dispatcher, scheduler, requests, jobs, store, tally, blobs, now)
    scheduler.check()
    await jobs.close()
    await store.close()


def tokens(text: str, seq: int = 0) -> Tokens:
    return Tokens(seq=seq, text=text, token_ids=(1,))


async def test_an_answer_reaches_the_client_and_credit_follows_what_it_read(desk: Desk) -> None:
    link = desk.worker("a")
    ticket = desk.chat()
    (assign,) = link.assigned()
    for message in (Started(device="cpu"), tokens("hi"), DONE):
        desk.dispatcher.job_message(link, assign.job_id, assign.epoch, message, 10)
    answers = ticket.answers()
    assert isinstance(await anext(answers), Started)
    assert link.credit == {}
    assert await anext(answers) == tokens("hi")
    assert link.credit == {(assign.job_id, 1): 10}
    assert await anext(answers) == DONE
    assert [answer async for answer in answers] == []
    assert link.credit == {(assign.job_id, 1): 30}
    assert (desk.tally.finished, desk.tally.tokens_in, desk.tally.tokens_out) == (1, 3, 1)
    assert desk.dispatcher.leased == 0


async def test_a_worker_lost_before_the_first_token_is_invisible(desk: Desk) -> None:
    first, second = desk.worker("a"), desk.worker("b")
    ticket = desk.chat()
    (assign,) = first.assigned()
    desk.dispatcher.job_message(first, assign.job_id, 1, Started(device="cpu"), 10)
    desk.dispatcher.disconnected(first, "killed")
    await desk.until_assigned(second)
    (again,) = second.assigned()
    assert (again.job_id, again.epoch) == (assign.job_id, 2)
    for message in (tokens("hi"), DONE):
        desk.dispatcher.job_message(second, again.job_id, 2, message, 10)
    assert [answer async for answer in ticket.answers()] == [tokens("hi"), DONE]


async def test_a_message_of_an_old_lease_reaches_nobody(desk: Desk) -> None:
    first, second = desk.worker("a"), desk.worker("b")
    ticket = desk.chat()
    (assign,) = first.assigned()
    desk.dispatcher.refused(first, Refuse(job_id=assign.job_id, epoch=1, reason="busy"))
    await desk.until_assigned(second)
    desk.dispatcher.job_message(first, assign.job_id, 1, tokens("ghost"), 10)
    desk.dispatcher.job_message(second, assign.job_id, 1, tokens("wrong epoch"), 10)
    desk.dispatcher.job_message(first, assign.job_id, 2, tokens("not its lease"), 10)
    desk.dispatcher.job_message(second, assign.job_id, 2, DONE, 10)
    assert [answer async for answer in ticket.answers()] == [DONE]
    assert first.credit == {(assign.job_id, 1): 10, (assign.job_id, 2): 10}


async def test_refusals_do_not_use_up_a_jobs_attempts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.durable.REFUSED_RETRY_S", 0.0)
    link = desk.worker("a")
    record = await desk.script()
    for epoch in range(1, ATTEMPTS + 3):
        await desk.until_assigned(link, epoch)
        desk.dispatcher.refused(link, Refuse(job_id=record.id, epoch=epoch, reason="full"))
    await desk.until_assigned(link, ATTEMPTS + 3)
    assert await desk.state(record) is JobState.LEASED


async def test_a_crash_is_tried_again_elsewhere_but_not_for_ever(desk: Desk) -> None:
    link = desk.worker("a")
    ticket = desk.chat()
    for epoch in (1, 2, 3):
        await desk.until_assigned(link, epoch)
        crash = Failed(code=FailCode.CRASHED, message="The engine died.")
        desk.dispatcher.job_message(link, ticket.job_id, epoch, crash, 5)
    with pytest.raises(JobFailedError, match="The engine died"):
        await anext(ticket.answers())
    assert desk.tally.failed == 1


async def test_a_bad_request_is_not_tried_again(desk: Desk) -> None:
    link = desk.worker("a")
    ticket = desk.chat()
    failed = Failed(code=FailCode.CONTEXT_LENGTH, message="too long", param="messages")
    desk.dispatcher.job_message(link, ticket.job_id, 1, failed, 5)
    with pytest.raises(JobFailedError) as caught:
        await anext(ticket.answers())
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    assert len(link.assigned()) == 1


async def test_a_cancelled_request_frees_its_worker_at_once(desk: Desk) -> None:
    link = desk.worker("a")
    ticket = desk.chat()
    desk.dispatcher.job_message(link, ticket.job_id, 1, tokens("unread"), 10)
    ticket.cancel("the client went away")
    ticket.cancel("twice")
    assert [(cancel.job_id, cancel.epoch) for cancel in link.cancelled()] == [(ticket.job_id, 1)]
    assert desk.dispatcher.leased == 0
    assert link.credit == {(ticket.job_id, 1): 10}
    assert desk.tally.cancelled == 1


async def test_no_worker_is_said_at_once_with_the_reason(desk: Desk) -> None:
    with pytest.raises(NoWorkerError, match="No worker is connected"):
        desk.chat()
    link = desk.worker("a")
    desk.dispatcher.set_draining(link.worker.id, True)
    with pytest.raises(NoWorkerError, match="a: the admin drains it"):
        desk.chat()


async def test_a_full_queue_refuses_and_an_ended_request_makes_room(desk: Desk) -> None:
    link = desk.worker("a")
    for _ in range(8):
        desk.chat()
    waiting = [desk.chat(), desk.chat()]
    with pytest.raises(QueueFullError):
        desk.chat()
    waiting[0].cancel("gone")
    desk.chat()
    assert len(link.assigned()) == 8


async def test_one_key_may_not_open_more_requests_than_its_share(desk: Desk) -> None:
    for name in ("a", "b"):
        desk.worker(name)
    tickets = [desk.chat() for _ in range(12)]
    with pytest.raises(QueueFullError, match="12 requests open"):
        desk.chat()
    tickets[0].cancel("gone")
    desk.chat()


async def test_nobody_waits_longer_than_patience(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    link = desk.worker("a")
    desk.dispatcher.suspected(link, True)
    ticket = InteractiveRequests(
        desk.dispatcher, desk.store, RequestLimits(queued=2, per_key=12, patience_s=0.0), desk.tally, lambda: 1e9
    ).submit(KEY, MODEL, TASK)
    with pytest.raises(NoWorkerError, match="it does not answer at the moment"):
        await anext(ticket.answers())


async def test_a_job_is_on_disk_before_it_is_acknowledged_and_ends_with_its_result(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.script()
    await desk.until_assigned(link)
    desk.dispatcher.job_message(link, record.id, 1, Started(device="cpu"), 1)
    assert await desk.state(record) is JobState.RUNNING
    desk.dispatcher.job_message(link, record.id, 1, SCRIPT_DONE, 1)
    assert await desk.state(record) is JobState.DONE
    assert desk.dispatcher.leased == 0


async def test_a_job_whose_worker_dies_runs_again_and_the_dead_ones_result_is_refused(desk: Desk) -> None:
    first, second = desk.worker("a"), desk.worker("b")
    record = await desk.script()
    await desk.until_assigned(first)
    desk.dispatcher.disconnected(first, "killed")
    await desk.until_assigned(second)
    (again,) = second.assigned()
    assert again.epoch == 2
    desk.dispatcher.connected(first)
    desk.dispatcher.job_message(first, record.id, 1, SCRIPT_DONE, 1)
    assert await desk.state(record) is JobState.LEASED
    desk.dispatcher.job_message(second, record.id, 2, SCRIPT_DONE, 1)
    assert await desk.state(record) is JobState.DONE


async def test_a_worker_that_connects_again_gives_back_what_its_old_link_held(desk: Desk) -> None:
    old = desk.worker("a")
    record = await desk.script()
    await desk.until_assigned(old)
    new = desk.worker("a")
    await desk.until_assigned(new)
    assert new.assigned()[0].epoch == 2
    desk.dispatcher.job_message(old, record.id, 1, SCRIPT_DONE, 1)
    desk.dispatcher.disconnected(old, "late news of the old link")
    assert await desk.state(record) is JobState.LEASED
    assert desk.dispatcher.leased == 1


async def test_a_lease_without_heartbeats_goes_to_another_worker(desk: Desk) -> None:
    first, second = desk.worker("a"), desk.worker("b")
    record = await desk.script()
    await desk.until_assigned(first)
    desk.now[0] = 31.0
    desk.dispatcher.expire_leases()
    await desk.until_assigned(second)
    held = (LeaseHeld(job_id=record.id, epoch=1),)
    desk.dispatcher.heartbeat(first, Heartbeat(seq=7, held=held))
    assert first.sent[-1] == HeartbeatAck(seq=7, lost=held)


async def test_heartbeats_keep_a_lease(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.script()
    await desk.until_assigned(link)
    desk.now[0] = 20.0
    desk.dispatcher.heartbeat(link, Heartbeat(seq=1, held=(LeaseHeld(job_id=record.id, epoch=1),)))
    assert link.sent[-1] == HeartbeatAck(seq=1)
    desk.now[0] = 45.0
    desk.dispatcher.expire_leases()
    assert desk.dispatcher.leased == 1


async def test_a_result_whose_files_never_arrived_does_not_count(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.script()
    await desk.until_assigned(link)
    file = OutputFile(name="out.txt", sha256=digest_of(b"output"), size=6)
    done = Finished(result=PythonDone(exit_code=0, ended="exit", files=(file,)))
    desk.dispatcher.job_message(link, record.id, 1, done, 1)
    await desk.until_assigned(link, 2)
    desk.blobs.put_bytes(b"output")
    desk.dispatcher.job_message(link, record.id, 2, done, 1)
    assert await desk.state(record) is JobState.DONE


async def test_a_job_that_is_always_lost_is_given_up_as_dead(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.script()
    for epoch in range(1, ATTEMPTS + 1):
        await desk.until_assigned(link, epoch)
        desk.dispatcher.job_stream_ended(link, record.id, epoch)
        await desk.jobs.close()
    assert await desk.state(record) is JobState.DEAD
    assert len(link.assigned()) == ATTEMPTS


async def test_a_cancelled_job_stops_where_it_runs(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.script()
    await desk.until_assigned(link)
    cancelled = await desk.jobs.cancel(record.id)
    assert cancelled.state is JobState.CANCELLED
    assert [(cancel.job_id, cancel.epoch) for cancel in link.cancelled()] == [(record.id, 1)]
    desk.dispatcher.job_message(link, record.id, 1, SCRIPT_DONE, 1)
    assert await desk.state(record) is JobState.CANCELLED
    assert (await desk.jobs.cancel(record.id)).state is JobState.CANCELLED
    assert desk.tally.cancelled == 1


async def test_a_failing_script_is_a_failed_job_that_keeps_its_exit_code(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.script()
    await desk.until_assigned(link)
    done = Finished(result=PythonDone(exit_code=3, ended="exit"))
    desk.dispatcher.job_message(link, record.id, 1, done, 1)
    assert await desk.state(record) is JobState.FAILED
    found = await desk.store.job(record.id)
    assert found is not None
    assert found.outcome is not None
    assert found.outcome.error == "The script ended with exit code 3."


async def test_followers_see_the_log_as_it_comes_and_then_the_end(desk: Desk) -> None:
    link = desk.worker("a")
    record = await desk.script()
    await desk.until_assigned(link)
    seen: list[LogLine | JobRecord] = []

    async def follow() -> None:
        async for item in desk.jobs.follow(record.id, 0):
            seen.append(item)

    follower = asyncio.create_task(follow())
    for seq, data in enumerate((b"one\n", b"two\n"), start=1):
        desk.dispatcher.job_message(link, record.id, 1, Log(seq=seq, stream="stdout", data=data), 1)
        while len(seen) < seq:
            await asyncio.sleep(0)
    desk.dispatcher.job_message(link, record.id, 1, SCRIPT_DONE, 1)
    await follower
    assert seen[:2] == [
        LogLine(LINES_PER_LEASE + 1, "stdout", b"one\n"),
        LogLine(LINES_PER_LEASE + 2, "stdout", b"two\n"),
    ]
    assert isinstance(seen[2], JobRecord)
    assert seen[2].state is JobState.DONE


async def test_a_follower_that_comes_back_after_the_job_moved_misses_no_line(desk: Desk) -> None:
    first, second = desk.worker("a"), desk.worker("b")
    record = await desk.script()
    await desk.until_assigned(first)
    desk.dispatcher.job_message(first, record.id, 1, Log(seq=5, stream="stdout", data=b"old"), 1)
    read = (await anext(desk.jobs.follow(record.id, 0))).seq  # type: ignore[union-attr]
    desk.dispatcher.disconnected(first, "killed")
    await desk.until_assigned(second)
    desk.dispatcher.job_message(second, record.id, 2, Log(seq=1, stream="stdout", data=b"new"), 1)
    line = await anext(desk.jobs.follow(record.id, read))
    assert isinstance(line, LogLine)
    assert line.data == b"new"


async def test_after_a_restart_every_unfinished_job_runs(desk: Desk, tmp_path: Path) -> None:
    link = desk.worker("a")
    records = [await desk.script() for _ in range(3)]
    await desk.until_assigned(link, 3)
    await desk.jobs.close()

    scheduler = Scheduler(30.0)
    dispatcher = Dispatcher(scheduler, lambda: 0.0, lambda: 1e9)
    jobs = DurableJobs(dispatcher, desk.store, desk.blobs, DurableLimits(queued=10), Tally(), lambda: 1e9)
    assert await jobs.recover() == 3
    second = MemoryLink("b")
    dispatcher.connected(second)
    dispatcher.reported(second, REPORT)
    while len(second.assigned()) < 3:
        await asyncio.sleep(0)
    assert {(assign.job_id, assign.epoch) for assign in second.assigned()} == {(record.id, 2) for record in records}
    await jobs.close()

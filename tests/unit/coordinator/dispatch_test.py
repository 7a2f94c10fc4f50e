"""What happens to interactive requests when workers answer, fail, vanish or come back: real store, links in memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.dispatch.scheduler import Scheduler
from coordinator.errors import JobFailedError, KeyLimitError, NoWorkerError, QueueFullError
from coordinator.interactive.desk import InteractiveRequests, RequestLimits
from coordinator.records import KeyRecord, ModelKind, ModelRecord, Scope
from coordinator.store.sqlite_store import SqliteStore
from coordinator.tally import Tally
from coordinator.tickets import Ticket
from gogrid.ids import KeyId, Sha256
from gogrid.protocol.job_messages import FailCode, Failed, Finished, Started, TextDone, Tokens
from gogrid.protocol.messages import Refuse
from gogrid.protocol.tasks import ChatMessage, ChatTask, ModelRef, Sampling
from gogrid.protocol.worker_report import Device, DeviceKind, Readiness, WorkerReport
from tests.fakes.links import MemoryLink

KEY = KeyRecord(KeyId("k"), "key", b"", frozenset(Scope), 0.0, None, False)
MODEL = ModelRecord("m", Sha256("a" * 64), ModelKind.CHAT, "echo", 0, 100, 8192, 0, 0.0)
TASK = ChatTask(
    model=ModelRef(name="m", digest=MODEL.digest),
    messages=(ChatMessage(role="user", content="hi"),),
    sampling=Sampling(),
)
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


@dataclass
class Desk:
    dispatcher: Dispatcher
    scheduler: Scheduler
    requests: InteractiveRequests
    store: SqliteStore
    tally: Tally
    now: list[float]

    def worker(self, name: str) -> MemoryLink:
        link = MemoryLink(name)
        self.dispatcher.connected(link)
        self.dispatcher.reported(link, REPORT)
        return link

    def chat(self) -> Ticket:
        return self.requests.submit(KEY, MODEL, TASK)

    async def until_assigned(self, link: MemoryLink, count: int = 1) -> None:
        while len(link.assigned()) < count:
            await asyncio.sleep(0)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    now = [0.0]
    store = await SqliteStore.open(tmp_path / "coordinator.db")
    scheduler, tally = Scheduler(30.0), Tally()
    dispatcher = Dispatcher(scheduler, lambda: now[0], lambda: 1e9)
    requests = InteractiveRequests(
        dispatcher, store, RequestLimits(queued=2, per_key=12, patience_s=60.0), tally, lambda: 1e9
    )
    yield Desk(dispatcher, scheduler, requests, store, tally, now)
    scheduler.check()
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
    with pytest.raises(KeyLimitError, match="12 requests open"):
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

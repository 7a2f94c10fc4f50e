"""Requests whose only workers stand back for their owner, or are not back since the coordinator's start: they wait for
them, but not for ever, and know for whom."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.dispatch.scheduler import Scheduler
from coordinator.errors import KeyLimitError, NotReadyError, NoWorkerError, QueueFullError
from coordinator.http.errors import reply_to
from coordinator.interactive.desk import InteractiveRequests, RequestLimits
from coordinator.interactive.loading import Wait
from coordinator.records import KeyRecord, ModelKind, ModelRecord, Scope
from coordinator.store.sqlite_store import SqliteStore
from coordinator.tally import Tally
from coordinator.tickets import DEFAULT_WAIT, Ticket
from gogrid.ids import KeyId, Sha256, WorkerId
from gogrid.protocol.job_messages import Started
from gogrid.protocol.tasks import ChatMessage, ChatTask, CompletionTask, EmbeddingTask, ModelRef, Sampling
from gogrid.protocol.worker_report import Device, DeviceKind, Readiness, RefusedModel, WorkerReport
from tests.fakes.links import MemoryLink

KEY = KeyRecord(KeyId("k"), "key", b"", frozenset(Scope), 0.0, None, False)
MODEL = ModelRecord("m", Sha256("a" * 64), ModelKind.CHAT, "echo", 0, 100, 8192, 0, 0.0)
REF = ModelRef(name="m", digest=MODEL.digest)
CHAT = ChatTask(model=REF, messages=(ChatMessage(role="user", content="hi"),), sampling=Sampling())
TASKS = [
    CHAT,
    CompletionTask(model=REF, prompt="hi", sampling=Sampling()),
    EmbeddingTask(model=REF, inputs=("hi",)),
]
READY = WorkerReport(
    software="t",
    hostname="h",
    platform="p",
    readiness=Readiness.READY,
    reason="ready",
    devices=(Device(kind=DeviceKind.CPU, name="c", memory_bytes=1000, cap_bytes=1000, why=""),),
    engines=("echo",),
    sandbox="s",
    python_jobs=True,
    cores=4,
)
PAUSED = replace(READY, readiness=Readiness.PAUSED, reason="paused by its owner")


@dataclass
class Desk:
    dispatcher: Dispatcher
    requests: InteractiveRequests
    now: list[float]

    def worker(self, name: str, report: WorkerReport = PAUSED) -> MemoryLink:
        link = MemoryLink(name)
        self.dispatcher.connected(link)
        self.dispatcher.reported(link, report)
        return link

    def ask(
        self, task: ChatTask | CompletionTask | EmbeddingTask = CHAT, wait: Wait = DEFAULT_WAIT, key: KeyRecord = KEY
    ) -> Ticket:
        return self.requests.submit(key, MODEL, task, wait=wait)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = await SqliteStore.open(tmp_path / "coordinator.db")
    now = [100.0]
    dispatcher = Dispatcher(Scheduler(30.0), lambda: now[0], lambda: 1e9, return_s=30.0)
    limits = RequestLimits(queued=2, per_key=2, patience_s=60.0)
    yield Desk(dispatcher, InteractiveRequests(dispatcher, store, limits, Tally(), lambda: 1e9), now)
    await store.close()


def reasons(ticket: Ticket) -> tuple[str, ...]:
    return ticket.waiting_for


async def refused(ticket: Ticket) -> NoWorkerError:
    async with asyncio.timeout(5):
        with pytest.raises(NoWorkerError) as caught:
            await anext(ticket.answers())
    return caught.value


@pytest.mark.parametrize("task", TASKS, ids=["chat", "completion", "embedding"])
async def test_a_request_waits_for_a_worker_that_stands_back(
    desk: Desk, task: ChatTask | CompletionTask | EmbeddingTask
) -> None:
    link = desk.worker("a")
    ticket = desk.ask(task)
    await asyncio.sleep(0)
    assert reasons(ticket) == ("a: paused by its owner",)
    assert link.assigned() == []
    desk.dispatcher.reported(link, replace(PAUSED, reason="on battery"))
    assert reasons(ticket) == ("a: on battery",)
    desk.dispatcher.reported(link, READY)
    await asyncio.sleep(0)
    (assign,) = link.assigned()
    assert assign.job_id == ticket.job_id
    assert reasons(ticket) == ()
    desk.dispatcher.job_message(link, assign.job_id, assign.epoch, Started(device="cpu"), 1)
    assert isinstance(await anext(ticket.answers()), Started)


async def test_a_pause_that_outlasts_the_clients_patience_is_a_503_with_its_reason(desk: Desk) -> None:
    desk.worker("a")
    error = await refused(desk.ask(wait=Wait(0.02)))
    reply = reply_to(error)
    assert (reply.status, reply.detail.code, reply.headers) == (503, "no_worker", ((b"retry-after", b"5"),))
    assert reply.detail.message == "No worker was free for m in time (a: paused by its owner)."


async def test_a_client_that_does_not_wait_is_refused_at_once(desk: Desk) -> None:
    desk.worker("a")
    error = await refused(desk.ask(wait=Wait(0.0)))
    assert isinstance(error, NotReadyError)
    assert str(error) == "No worker is free for m now (a: paused by its owner)."
    assert desk.dispatcher.waiting == 0


async def test_what_waits_for_a_worker_that_goes_away_is_refused_when_it_goes(desk: Desk) -> None:
    link = desk.worker("a")
    ticket = desk.ask()
    desk.dispatcher.disconnected(link, "the cable was pulled")
    assert "No worker is connected" in str(await refused(ticket))


@pytest.mark.parametrize(
    "report",
    [
        replace(PAUSED, engines=()),
        replace(PAUSED, devices=(replace(READY.devices[0], cap_bytes=10),)),
        replace(PAUSED, refused=(RefusedModel(digest=MODEL.digest, reason="it crashed"),)),
        replace(READY, readiness=Readiness.UNABLE, reason="no sandbox works"),
        replace(READY, readiness=Readiness.DRAINING, reason="it ends"),
    ],
    ids=["no engine", "too small", "refuses the model", "unable", "ends"],
)
async def test_a_worker_that_could_not_serve_it_in_any_case_is_not_waited_for(desk: Desk, report: WorkerReport) -> None:
    desk.worker("a", report)
    desk.worker("b", replace(READY, engines=()))  # one more, so that the limits of the grid are not what refuses it
    desk.worker("c", replace(READY, readiness=Readiness.UNABLE, reason="no sandbox works"))
    with pytest.raises(
        NoWorkerError, match=r"^No connected worker can serve m \(a: [^()]*; b: [^()]*; c: no sandbox works\)\.$"
    ):
        desk.ask()


async def test_a_paused_worker_that_the_admin_drains_is_not_waited_for(desk: Desk) -> None:
    link = desk.worker("a")
    ticket = desk.ask()
    desk.dispatcher.set_draining(link.worker.id, True)
    assert "a: the admin drains it" in str(await refused(ticket))
    desk.dispatcher.set_draining(link.worker.id, False)
    desk.dispatcher.set_quarantined(link.worker.id, "it crashed")
    with pytest.raises(NoWorkerError, match="quarantined"):
        desk.ask()


async def test_no_more_wait_for_paused_workers_than_may(desk: Desk) -> None:
    desk.worker("a")
    other = KeyRecord(KeyId("other"), "other", b"", frozenset(Scope), 0.0, None, False)
    first = desk.ask()
    desk.ask()
    with pytest.raises(KeyLimitError):
        desk.ask()
    with pytest.raises(QueueFullError):
        desk.ask(key=other)
    first.cancel("gone")
    desk.ask(key=other)


async def test_a_restarted_coordinator_waits_for_the_worker_that_was_here_before(desk: Desk) -> None:
    desk.dispatcher.enrolled = lambda: [WorkerId("a")]
    ticket = desk.ask()
    await asyncio.sleep(0)
    assert reasons(ticket) == ("workers that were here before the coordinator started may still come back",)
    link = desk.worker("a", READY)
    await asyncio.sleep(0)
    assert [assign.job_id for assign in link.assigned()] == [ticket.job_id]
    assert reasons(ticket) == ()


async def test_after_a_lease_nobody_waits_for_the_workers_of_before_any_more(desk: Desk) -> None:
    desk.dispatcher.enrolled = lambda: [WorkerId("a")]
    waiting = [desk.ask(), desk.ask()]
    desk.now[0] += 29.0
    desk.dispatcher.expire_leases()
    await asyncio.sleep(0)
    assert desk.dispatcher.waiting == 2
    desk.now[0] += 1.0
    desk.dispatcher.expire_leases()
    for ticket in waiting:
        assert "No worker is connected" in str(await refused(ticket))
    with pytest.raises(NoWorkerError, match="No worker is connected"):
        desk.ask()
    assert desk.dispatcher.waiting == 0


async def test_a_restarted_coordinator_waits_no_longer_when_all_are_back_and_none_can(desk: Desk) -> None:
    desk.dispatcher.enrolled = lambda: [WorkerId("a"), WorkerId("b")]
    desk.worker("a", replace(READY, engines=()))
    ticket = desk.ask()
    desk.worker("b", replace(READY, readiness=Readiness.UNABLE, reason="no sandbox works"))
    assert "b: no sandbox works" in str(await refused(ticket))
    with pytest.raises(NoWorkerError, match="No connected worker can serve"):
        desk.ask()


async def test_a_worker_that_was_here_since_the_start_and_left_is_not_waited_for(desk: Desk) -> None:
    desk.dispatcher.enrolled = lambda: [WorkerId("a")]
    desk.dispatcher.disconnected(desk.worker("a", READY), "the cable was pulled")
    with pytest.raises(NoWorkerError, match="No worker is connected"):
        desk.ask()


async def test_a_client_that_does_not_wait_does_not_wait_for_workers_of_before_either(desk: Desk) -> None:
    desk.dispatcher.enrolled = lambda: [WorkerId("a")]
    error = await refused(desk.ask(wait=Wait(0.0)))
    assert isinstance(error, NotReadyError)
    assert "may still come back" in str(error)
    assert desk.dispatcher.waiting == 0

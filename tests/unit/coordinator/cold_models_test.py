"""Requests for models that cannot serve yet: how long they wait, what they are told, and where they are placed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.dispatch.placement import Need
from coordinator.dispatch.scheduler import Grant, Hopeless, Scheduler
from coordinator.errors import NotReadyError, QueueFullError
from coordinator.http.errors import reply_to
from coordinator.http.waiting import wait_of
from coordinator.interactive.desk import InteractiveRequests, RequestLimits
from coordinator.interactive.loading import NOT_BEGUN, Loading, Patience, Wait, WaitLimits, nearest
from coordinator.records import KeyRecord, ModelKind, ModelRecord, Scope
from coordinator.store.sqlite_store import SqliteStore
from coordinator.tally import Tally
from coordinator.tickets import Ticket
from gogrid.ids import JobId, KeyId, Sha256, WorkerId
from gogrid.protocol.job_messages import FailCode, Failed, Finished, Progress, Started, TextDone
from gogrid.protocol.tasks import ChatMessage, ChatTask, ModelRef, Sampling
from gogrid.protocol.worker_report import (
    Device,
    DeviceKind,
    LoadedModel,
    LoadingModel,
    LoadStage,
    Readiness,
    RefusedModel,
    WorkerReport,
)
from tests.fakes.links import MemoryLink

LIMITS = WaitLimits(patience_s=60.0, longest_s=1800.0)
KEY = KeyRecord(KeyId("k"), "key", b"", frozenset(Scope), 0.0, None, False)
MODEL = ModelRecord("m", Sha256("a" * 64), ModelKind.CHAT, "echo", 0, 100, 8192, 0, 0.0)
OTHER = Sha256("b" * 64)
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
    devices=(Device(kind=DeviceKind.CPU, name="c", memory_bytes=1000, cap_bytes=1000, why=""),),
    engines=("echo",),
    sandbox="s",
    python_jobs=True,
    cores=4,
)
DONE = Finished(result=TextDone(finish_reason="stop", prompt_tokens=3, completion_tokens=1))


def downloading(progress: float) -> Loading:
    return Loading(LoadStage.DOWNLOADING, progress, None)


# --- patience, by virtual time ---


def test_a_download_that_progresses_is_not_given_up() -> None:
    patience = Patience(Wait(), LIMITS, 0.0)
    for minute in range(1, 25):
        now = patience.until - 1
        patience.seen(downloading(minute / 1000), now)
        assert patience.until == now + 60


def test_a_download_that_stalls_is_given_up() -> None:
    patience = Patience(Wait(), LIMITS, 0.0)
    patience.seen(downloading(0.5), 10.0)
    for now in range(11, 60):
        patience.seen(downloading(0.5), float(now))
    assert patience.until == 70.0


def test_no_progress_is_worth_more_than_the_longest_wait() -> None:
    patience = Patience(Wait(), LIMITS, 0.0)
    for step in range(1, 1000):
        patience.seen(downloading(step / 1000), step * 10.0)
    assert patience.until == LIMITS.longest_s


def test_a_load_that_says_nothing_new_is_alive_because_its_worker_watches_it() -> None:
    patience = Patience(Wait(), LIMITS, 0.0)
    for now in range(0, 600, 5):
        patience.seen(Loading(LoadStage.LOADING, 0.2, None), float(now))
    assert patience.until == 595 + 60


def test_waiting_for_room_is_not_progress() -> None:
    patience = Patience(Wait(), LIMITS, 0.0)
    for now in range(59):
        patience.seen(NOT_BEGUN, float(now))
    assert patience.until == 60.0


@pytest.mark.parametrize(("seconds", "until"), [(0.0, 100.0), (5.0, 105.0), (600.0, 700.0), (9999.0, 1900.0)])
def test_a_client_waits_exactly_as_long_as_it_says(seconds: float, until: float) -> None:
    patience = Patience(Wait(seconds), LIMITS, 100.0)
    patience.seen(downloading(0.1), 101.0)
    assert patience.until == until


def test_of_several_workers_the_farthest_is_told() -> None:
    reports = [
        msgspec.structs.replace(REPORT, loading=(LoadingModel(digest=MODEL.digest, stage=stage, fraction=0.3),))
        for stage in (LoadStage.DOWNLOADING, LoadStage.LOADING, LoadStage.QUEUED)
    ]
    found = nearest(MODEL.digest, [REPORT, *reports])
    assert found is not None
    assert found.stage is LoadStage.LOADING
    assert nearest(OTHER, reports) is None


# --- requests ---


@dataclass
class Desk:
    dispatcher: Dispatcher
    requests: InteractiveRequests
    now: list[float]

    def worker(self, name: str, report: WorkerReport = REPORT) -> MemoryLink:
        link = MemoryLink(name)
        self.dispatcher.connected(link)
        self.dispatcher.reported(link, report)
        return link

    def chat(self, wait: Wait = Wait()) -> Ticket:  # noqa: B008  # frozen
        return self.requests.submit(KEY, MODEL, TASK, wait=wait)

    def say(self, link: MemoryLink, ticket: Ticket, message: Progress | Started | Finished) -> None:
        self.dispatcher.job_message(link, ticket.job_id, 1, message, 1)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    now = [0.0]
    store = await SqliteStore.open(tmp_path / "coordinator.db")
    dispatcher = Dispatcher(Scheduler(30.0), lambda: now[0], lambda: 1e9)
    limits = RequestLimits(queued=2, per_key=40, patience_s=60.0)
    yield Desk(dispatcher, InteractiveRequests(dispatcher, store, limits, Tally(), lambda: 1e9), now)
    await store.close()


async def refusal(ticket: Ticket) -> NotReadyError:
    async def whole() -> None:
        async for _ in ticket.answers():
            pass

    with pytest.raises(NotReadyError) as caught:
        await asyncio.wait_for(whole(), 5)
    return caught.value


async def test_loading_shows_state_progress_eta_to_a_client_that_does_not_wait(desk: Desk) -> None:
    link = desk.worker("a")
    ticket = desk.chat(Wait(0.0))
    desk.say(link, ticket, Progress(stage=LoadStage.DOWNLOADING, fraction=0.4, eta_s=12.3))
    error = await refusal(ticket)
    assert error.loading == Loading(LoadStage.DOWNLOADING, 0.4, 12.3)
    assert error.retry_after_s == 13
    reply = reply_to(error)
    assert (reply.status, reply.detail.code, reply.headers) == (503, "model_loading", ((b"retry-after", b"13"),))
    body = msgspec.json.decode(reply.body)
    assert body["error"]["loading"] == {"state": "downloading", "progress": 0.4, "eta_s": 12.3}
    assert str(error) == "m cannot answer yet: it is downloading 40% on a."
    assert [cancel.job_id for cancel in link.cancelled()] == [ticket.job_id]
    assert desk.dispatcher.leased == 0


async def test_a_client_that_does_not_wait_is_served_where_the_model_is_loaded(desk: Desk) -> None:
    link = desk.worker("a")
    ticket = desk.chat(Wait(0.0))
    await asyncio.sleep(0.01)
    desk.say(link, ticket, Started(device="cpu"))
    desk.say(link, ticket, DONE)
    assert [type(answer) async for answer in ticket.answers()] == [Started, Finished]


async def test_a_client_that_does_not_wait_is_refused_at_once_where_all_is_busy(desk: Desk) -> None:
    desk.worker("a")
    for _ in range(8):
        desk.chat()
    error = await refusal(desk.chat(Wait(0.0)))
    assert error.loading == NOT_BEGUN
    assert reply_to(error).detail.code == "no_worker"


async def test_a_request_whose_turn_at_the_worker_comes_late_sees_how_far_the_model_is(desk: Desk) -> None:
    """The ninth request for a loading model waits at the coordinator, but not in the dark."""
    link = desk.worker("a")
    for _ in range(8):
        desk.chat()
    loading = LoadingModel(digest=MODEL.digest, stage=LoadStage.LOADING, fraction=0.5, eta_s=3.0)
    desk.dispatcher.reported(link, msgspec.structs.replace(REPORT, loading=(loading,)))
    error = await refusal(desk.chat(Wait(0.02)))
    assert error.loading == Loading(LoadStage.LOADING, 0.5, 3.0)
    assert error.retry_after_s == 3


async def test_a_request_that_waits_long_is_given_up_once_nothing_gets_on(desk: Desk) -> None:
    link = desk.worker("a")
    patient = InteractiveRequests(
        desk.dispatcher,
        desk.requests._store,
        RequestLimits(queued=2, per_key=40, patience_s=0.05),
        Tally(),
        lambda: 1e9,
    )
    ticket = patient.submit(KEY, MODEL, TASK)
    for step in range(1, 5):
        desk.say(link, ticket, Progress(stage=LoadStage.DOWNLOADING, fraction=step / 10))
        await asyncio.sleep(0.02)
    assert link.cancelled() == []
    error = await refusal(ticket)
    assert error.loading == downloading(0.4)


async def test_a_worker_whose_memory_a_script_has_is_asked_again_while_the_client_is_patient(desk: Desk) -> None:
    """However often it has no room: that says nothing of the request."""
    link = desk.worker("a")
    patient = InteractiveRequests(
        desk.dispatcher,
        desk.requests._store,
        RequestLimits(queued=2, per_key=40, patience_s=1.2),
        Tally(),
        lambda: 1e9,
    )
    ticket = patient.submit(KEY, MODEL, TASK)
    answering = asyncio.create_task(refusal(ticket))
    epochs = 0
    while not answering.done():
        if len(link.assigned()) > epochs:
            epochs += 1
            no_room = Failed(code=FailCode.NO_ROOM, message="853 MB is free while scripts are running.")
            desk.dispatcher.job_message(link, ticket.job_id, epochs, no_room, 1)
        await asyncio.sleep(0.01)
    assert epochs > 3
    assert "853 MB is free while scripts are running" in str(await answering)


async def test_retry_after_follows_the_measured_service_rate(desk: Desk) -> None:
    """Not a constant: as many as wait at the rate at which requests have ended."""
    link = desk.worker("a")
    for _ in range(10):
        ticket = desk.chat()
        desk.now[0] += 8.0
        desk.dispatcher.expire_leases()
        desk.say(link, ticket, DONE)
    for _ in range(10):
        desk.chat()
    with pytest.raises(QueueFullError) as caught:
        desk.chat()
    assert 12 <= caught.value.retry_after_s <= 20


# --- placement ---


def scheduler(**reports: WorkerReport) -> Scheduler:
    made = Scheduler(lease_s=30.0)
    for name, report in reports.items():
        made.joined(WorkerId(name), name, draining=False)
        made.reported(WorkerId(name), report)
    return made


def placed(made: Scheduler) -> list[Grant | Hopeless]:
    made.add(Need(JobId("j"), MODEL.digest, "echo", 600))
    return made.place(0.0)


def test_a_model_is_loaded_where_it_pushes_no_other_out() -> None:
    full = LoadedModel(digest=OTHER, memory_bytes=600, running=0, slots=4)
    crowded = msgspec.structs.replace(REPORT, loaded=(full,), cached=(MODEL.digest,))
    roomy = msgspec.structs.replace(REPORT, cached=(MODEL.digest,))
    assert placed(scheduler(a=crowded, b=roomy)) == [Grant(JobId("j"), WorkerId("b"))]


def test_a_model_that_gives_way_counts_as_not_loaded() -> None:
    there = LoadedModel(digest=MODEL.digest, memory_bytes=600, running=3, slots=4, giving_way=True)
    leaving = msgspec.structs.replace(REPORT, loaded=(there,), cached=(MODEL.digest,))
    roomy = msgspec.structs.replace(REPORT, cached=(MODEL.digest,))
    assert placed(scheduler(a=leaving, b=roomy)) == [Grant(JobId("j"), WorkerId("b"))]


def test_another_models_place_costs_less_than_a_download() -> None:
    full = LoadedModel(digest=OTHER, memory_bytes=600, running=0, slots=4)
    crowded = msgspec.structs.replace(REPORT, loaded=(full,), cached=(MODEL.digest,))
    assert placed(scheduler(a=REPORT, b=crowded)) == [Grant(JobId("j"), WorkerId("b"))]


def test_a_worker_on_which_the_model_crashes_gets_none_of_it_and_says_why() -> None:
    refusing = msgspec.structs.replace(REPORT, refused=(RefusedModel(digest=MODEL.digest, reason="it crashed"),))
    assert placed(scheduler(a=refusing)) == [Hopeless(JobId("j"), ("a: it refuses this model for now: it crashed",))]
    assert placed(scheduler(a=refusing, b=REPORT)) == [Grant(JobId("j"), WorkerId("b"))]


# --- what clients say ---


@pytest.mark.parametrize(
    ("field", "header", "wait"),
    [
        (None, None, Wait()),
        (True, "false", Wait()),
        (False, "true", Wait(0.0)),
        (5, None, Wait(5.0)),
        (None, "false", Wait(0.0)),
        (None, "2.5", Wait(2.5)),
    ],
)
def test_the_field_says_how_long_to_wait_and_else_the_header(
    field: bool | float | None, header: str | None, wait: Wait
) -> None:
    assert wait_of(field, header) == wait


@pytest.mark.parametrize(("field", "header"), [(-1, None), (1e9, None), (None, "soon"), (None, "nan"), (None, "-1")])
def test_anything_else_is_refused_by_name(field: float | None, header: str | None) -> None:
    with pytest.raises(Exception, match="must be true, false or seconds from 0 to 86400"):
        wait_of(field, header)

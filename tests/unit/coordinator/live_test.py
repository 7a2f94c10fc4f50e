"""What a worker may fetch and store with its session's ticket."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from coordinator.directory import Directory
from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.dispatch.scheduler import Scheduler
from coordinator.durable.jobs import DurableJobs
from coordinator.live import Live
from coordinator.records import KeyRecord, Scope
from coordinator.state.blobs import BlobStore
from coordinator.store.sqlite_store import SqliteStore
from coordinator.tally import Tally
from coordinator.tickets import Submission
from gogrid.ids import KeyId
from gogrid.protocol.tasks import InputFile, PythonLimits, PythonTask
from gogrid.protocol.worker_report import Device, DeviceKind, Readiness, WorkerReport
from tests.fakes.durable import durable_jobs
from tests.fakes.links import MemoryLink

KEY = KeyRecord(KeyId("k"), "key", b"", frozenset(Scope), 0.0, None, False)


@dataclass
class Grid:
    live: Live
    dispatcher: Dispatcher
    jobs: DurableJobs
    blobs: BlobStore

    def worker(self, name: str) -> MemoryLink:
        link = MemoryLink(name)
        self.dispatcher.connected(link)
        report = WorkerReport(
            software="t",
            hostname="h",
            platform="p",
            readiness=Readiness.READY,
            reason="ready",
            devices=(Device(kind=DeviceKind.CPU, name="c", memory_bytes=1 << 40, cap_bytes=1 << 40, why=""),),
            engines=(),
            sandbox="s",
            python_jobs=True,
        )
        self.dispatcher.reported(link, report)
        return link


@pytest.fixture
async def grid(tmp_path: Path) -> AsyncIterator[Grid]:
    store = await SqliteStore.open(tmp_path / "coordinator.db")
    directory = await Directory.load(store, lambda: 0.0)
    blobs, tally = BlobStore(tmp_path / "blobs"), Tally()
    dispatcher = Dispatcher(Scheduler(30.0), lambda: 0.0, lambda: 0.0)
    jobs = await durable_jobs(dispatcher, store, blobs, tally=tally, directory=directory)
    yield Grid(Live(directory, dispatcher, blobs, tally), dispatcher, jobs, blobs)
    await jobs.close()
    await store.close()


async def test_a_worker_fetches_only_the_inputs_of_its_own_jobs(grid: Grid) -> None:
    mine = grid.blobs.put_bytes(b"input")
    other = grid.blobs.put_bytes(b"somebody else's")
    holder = grid.worker("holder")
    task = PythonTask(files=(InputFile(name="x", sha256=mine.sha256, size=5),), entry="x")
    await grid.jobs.submit(KEY, Submission("x", task))
    idle = grid.worker("idle")
    assert grid.live.may_fetch(holder.worker.id, mine.sha256)
    assert not grid.live.may_fetch(idle.worker.id, mine.sha256)
    assert not grid.live.may_fetch(holder.worker.id, other.sha256)


async def test_a_worker_stores_no_more_than_its_jobs_may_put_out(grid: Grid) -> None:
    holder = grid.worker("holder")
    limits = PythonLimits(output_bytes=10 << 20)
    script = Submission("x", PythonTask(files=(), entry="x", limits=limits))
    record, _ = await grid.jobs.submit(KEY, script)
    room = grid.live.may_store(holder.worker.id)
    assert 10 << 20 <= room < 12 << 20
    grid.live.stored(holder.worker.id, room)
    assert grid.live.may_store(holder.worker.id) == 0
    await grid.jobs.cancel(record.id)
    assert grid.live.may_store(holder.worker.id) == 0
    await grid.jobs.submit(KEY, script)
    assert grid.live.may_store(holder.worker.id) == room


async def test_what_earlier_jobs_put_out_is_not_counted_against_later_ones(grid: Grid) -> None:
    holder = grid.worker("holder")
    for size in (10 << 20, 1 << 20, 3 << 20):
        limits = PythonLimits(output_bytes=size, memory_bytes=1 << 24, cpu_cores=0.1)
        record, _ = await grid.jobs.submit(KEY, Submission("x", PythonTask(files=(), entry="x", limits=limits)))
        room = grid.live.may_store(holder.worker.id)
        assert size <= room < size + (2 << 20)
        grid.live.stored(holder.worker.id, size)
        following, _ = await grid.jobs.submit(KEY, Submission("x", PythonTask(files=(), entry="x", limits=limits)))
        await grid.jobs.cancel(record.id)
        assert size <= grid.live.may_store(holder.worker.id) < size + (2 << 20)
        await grid.jobs.cancel(following.id)


async def test_a_ticket_dies_with_its_session(grid: Grid) -> None:
    link = grid.worker("a")
    assert grid.live.holder_of_ticket(link.ticket) == link.worker.id
    assert grid.live.holder_of_ticket("guess") is None
    grid.dispatcher.disconnected(link, "gone")
    assert grid.live.holder_of_ticket(link.ticket) is None

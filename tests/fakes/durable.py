"""Durable jobs put together as the coordinator does it: real store, links in memory, clocks that the test holds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from coordinator.directory import Directory
from coordinator.dispatch.dispatcher import Dispatcher
from coordinator.dispatch.scheduler import Scheduler
from coordinator.durable.jobs import DurableJobs
from coordinator.durable.keeping import Clocks
from coordinator.durable.quota import DurableLimits
from coordinator.durable.sick_workers import SickWorkers
from coordinator.records import (
    JobRecord,
    JobState,
    KeyRecord,
    ModelKind,
    ModelRecord,
    Scope,
    TokenRecord,
    WorkerRecord,
    WorkerStatus,
)
from coordinator.state.blobs import BlobStore
from coordinator.store.base import Store
from coordinator.store.sqlite_store import SqliteStore
from coordinator.tally import Tally
from coordinator.tickets import Submission
from gogrid.ids import KeyId, Sha256, WorkerId
from gogrid.protocol.job_messages import FailCode, Failed, Finished, JobMessage, PythonDone, PythonEnd
from gogrid.protocol.messages import Heartbeat, LeaseHeld
from gogrid.protocol.tasks import PythonTask, Task
from gogrid.protocol.worker_report import Device, DeviceKind, Readiness, WorkerReport
from tests.fakes.links import MemoryLink

KEY = KeyRecord(KeyId("k"), "key", b"", frozenset(Scope), 0.0, None, False)
SCRIPT = PythonTask(files=(), entry="main.py")
SCRIPT_DONE = Finished(result=PythonDone(exit_code=0, ended=PythonEnd.OK))
MODEL = ModelRecord("m", Sha256("a" * 64), ModelKind.CHAT, "echo", 0, 100, 8192, 0, 0.0)
CRASH = Failed(code=FailCode.CRASHED, message="The engine died.")
WALL = 1e9
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


def held(record: JobRecord, epoch: int) -> LeaseHeld:
    return LeaseHeld(job_id=record.id, epoch=epoch)


async def durable_jobs(
    dispatcher: Dispatcher,
    store: Store,
    blobs: BlobStore,
    *,
    tally: Tally | None = None,
    directory: Directory | None = None,
    monotonic: Callable[[], float] = lambda: 0.0,
    wall: Callable[[], float] = lambda: WALL,
    queued: int = 10,
    per_key: int = 1000,
) -> DurableJobs:
    known = directory or await Directory.load(store, wall)
    return DurableJobs(
        dispatcher,
        store,
        blobs,
        known.catalogue,
        SickWorkers(known, dispatcher.set_quarantined),
        DurableLimits(queued, per_key),
        tally or Tally(),
        Clocks(monotonic, wall),
    )


@dataclass
class Desk:
    """A coordinator's inside, and its workers."""

    path: Path
    store: SqliteStore
    directory: Directory
    tally: Tally = field(default_factory=Tally)
    now: float = 0.0
    queued: int = 10
    per_key: int = 1000
    scheduler: Scheduler = field(init=False)
    dispatcher: Dispatcher = field(init=False)
    jobs: DurableJobs = field(init=False)
    blobs: BlobStore = field(init=False)

    async def start(self) -> int:
        """A new process over the same database; nobody is connected to it yet."""
        self.scheduler = Scheduler(30.0)
        self.dispatcher = Dispatcher(self.scheduler, lambda: self.now, lambda: WALL + self.now)
        self.blobs = BlobStore(self.path / "blobs")
        self.jobs = await durable_jobs(
            self.dispatcher,
            self.store,
            self.blobs,
            tally=self.tally,
            directory=self.directory,
            monotonic=lambda: self.now,
            wall=lambda: WALL + self.now,
            queued=self.queued,
            per_key=self.per_key,
        )
        return await self.jobs.recover()

    def worker(self, name: str, *held: LeaseHeld) -> MemoryLink:
        """It connects, and its first heartbeat names what it holds."""
        link = MemoryLink(name)
        self.dispatcher.connected(link)
        self.dispatcher.heartbeat(link, Heartbeat(seq=1, held=held))
        self.dispatcher.reported(link, REPORT)
        return link

    async def submit(self, task: Task = SCRIPT, once: str | None = None) -> JobRecord:
        record, _ = await self.jobs.submit(KEY, Submission("main.py", task, once))
        return record

    def says(self, link: MemoryLink, record: JobRecord, epoch: int, *messages: JobMessage) -> None:
        for message in messages:
            self.dispatcher.job_message(link, record.id, epoch, message, 1)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)

    async def assigned(self, link: MemoryLink, count: int = 1) -> int:
        """Wait for so many assignments; the epoch of the last."""
        await self.until(lambda: len(link.assigned()) >= count)
        return link.assigned()[-1].epoch

    async def record(self, record: JobRecord) -> JobRecord:
        """As it is in the store, once nothing is under way."""
        await self.jobs.close()
        found = await self.store.job(record.id)
        assert found is not None
        return found

    async def state(self, record: JobRecord) -> JobState:
        return (await self.record(record)).state

    async def crash(self, link: MemoryLink, record: JobRecord, epoch: int, crash: Failed = CRASH) -> None:
        """A lease ends by a crash, and that is stored."""
        self.says(link, record, epoch, crash)
        await self.jobs.close()

    async def quiet(self) -> None:
        """Until nothing more follows from what has happened."""
        for _ in range(3):
            await self.jobs.close()
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        await self.jobs.close()
        self.now += seconds
        self.dispatcher.expire_leases()


@asynccontextmanager
async def open_desk(folder: Path, *models: ModelRecord, queued: int = 10, per_key: int = 1000) -> AsyncIterator[Desk]:
    """A coordinator that knows the workers `a`, `b` and `c`."""
    store = await SqliteStore.open(folder / "coordinator.db")
    try:
        await store.add_token(TokenRecord("t" * 16, b"p", "lab", 1.0, 2e9, 9, 0, False, False))
        for number, name in enumerate("abc"):
            key = bytes([number]) * 32
            record = WorkerRecord(WorkerId(name), name, key, WorkerStatus.APPROVED, False, 1, 0.0, "t" * 16)
            await store.redeem("t" * 16, record, 5.0)
        for model in models:
            await store.add_model(model)
        made = Desk(folder, store, await Directory.load(store, lambda: WALL), queued=queued, per_key=per_key)
        await made.start()
        yield made
        made.scheduler.check()
        await made.jobs.close()
    finally:
        await store.close()

"""A worker's work with everything real but sandbox, network and clock: real executor processes, the echo engine."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gogrid.ids import JobId, Sha256
from gogrid.protocol.job_messages import Started
from gogrid.protocol.messages import Assign, Welcome
from gogrid.protocol.tasks import (
    ChatMessage,
    ChatTask,
    ModelRef,
    Sampling,
)
from gogrid.protocol.worker_report import Device, DeviceKind
from runner.facts import Facts
from runner.holds import OwnerPause
from runner.models.cache import ModelCache
from runner.models.disk import ModelDisk, delete_tree
from runner.probes.choose import Chosen
from runner.serving.bring import Engine
from runner.serving.pool import ExecutorPool
from runner.work import Work
from tests.fakes.job_stream import MemoryStream
from tests.fakes.local_models import MemoryBlobs
from tests.fakes.plain_launcher import PlainLauncher

CAP = 1000
CPU = Device(kind=DeviceKind.CPU, name="test", memory_bytes=2 * CAP, cap_bytes=CAP, why="CPU: a test")
FACTS = Facts(
    software="gogrid/test",
    hostname="test",
    platform="linux-x86_64",
    device=Chosen(DeviceKind.CPU, (), CAP, "CPU: a test", (CPU,)),
    engines=("echo",),
    cores=2,
    script_memory=CAP,
    sandbox="plain",
    python_jobs=True,
    problem="",
)
WELCOME = Welcome(
    worker_id="wk_1",  # type: ignore[arg-type]
    worker_name="here",
    session_epoch=1,
    heartbeat_s=10,
    lease_s=30,
    fence_s=24,
    ping_s=5,
    ping_timeout_s=3,
    ticket="t",
    https_port=1,
)


class Bench:
    """A worker's work with everything real but sandbox, network and clock."""

    def __init__(self, root: Path, launcher: PlainLauncher, facts: Facts = FACTS) -> None:
        self.launcher, self.blobs, self.now = launcher, MemoryBlobs(), 0.0
        disk = ModelDisk(root)
        self.cache = ModelCache(disk, self.blobs, 10**9, time.time)
        self.cache.open()
        engine = Engine(DeviceKind.CPU, (), facts.device.cap_bytes, 2, facts.engines)
        self.pool = ExecutorPool(launcher, self.cache, disk, engine, held=lambda: 0, clock=lambda: self.now)
        self.work = Work(facts, pool=self.pool, cache=self.cache, scripts=None, clock=lambda: self.now)
        self.refused: list[tuple[str, str]] = []
        self.work.refuse = lambda job_id, epoch, reason: self.refused.append((job_id, reason))
        self._count = 0

    def chat(self, digest: Sha256, text: str, epoch: int = 1, job_id: str = "") -> MemoryStream:
        self._count += 1
        name = JobId(job_id or f"job_{self._count}")
        task = ChatTask(
            model=ModelRef(name="echo", digest=digest),
            messages=(ChatMessage(role="user", content=text),),
            sampling=Sampling(),
        )
        return self.assign(Assign(job_id=name, epoch=epoch, task=task))

    def pause(self, reason: str, *, finish: bool = False) -> None:
        """As its owner does."""
        self.work.hold(OwnerPause(reason, finish), self.work.holds.gates)

    def assign(self, assign: Assign) -> MemoryStream:
        stream = MemoryStream(assign.job_id, assign.epoch)
        self.work.assigned(assign, stream)
        return stream


@asynccontextmanager
async def bench(root: Path, program: str = "", facts: Facts = FACTS) -> AsyncIterator[Bench]:
    made = Bench(root, PlainLauncher(program), facts)
    try:
        yield made
    finally:
        await made.work.close()
        await made.pool.close()
        await made.cache.close()
        delete_tree(root)
        assert made.launcher.alive == 0


async def ended(*streams: MemoryStream) -> None:
    async with asyncio.timeout(20):
        await asyncio.gather(*(stream.ended.wait() for stream in streams))


def begun(stream: MemoryStream) -> bool:
    return any(isinstance(message, Started) for message in stream.messages)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)

"""Durable jobs under any sequence of lost links, dead workers, late words, cancels and restarts.

The workers here keep the worker's half of the bargain (the runner's own fence; ends are told until settled). Whatever
happens: no job completes twice or through a lease that is over, nobody runs a job that another worker may have been
given by then, and when things calm down no accepted job is missing.
"""

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.records import JobState, decode_result
from coordinator.tickets import Submission
from gogrid.ids import JobId, WorkerId
from gogrid.protocol.job_messages import FailCode, Failed, Finished, PythonDone, PythonEnd, Started
from gogrid.protocol.messages import Assign, Cancel, Heartbeat, HeartbeatAck, LeaseHeld, Settled
from runner.link.fence import Fence
from tests.fakes.durable import KEY, REPORT, SCRIPT, Desk, open_desk
from tests.fakes.links import MemoryLink

FENCE_S = 24.0
NAMES = "abc"


@dataclass
class Worker:
    """The worker's half, as `runner/work.py` keeps it."""

    name: str
    link: MemoryLink | None = None
    read: int = 0
    running: dict[JobId, int] = field(default_factory=dict)
    ended: dict[JobId, tuple[int, Finished | Failed]] = field(default_factory=dict)
    fence: Fence = field(default_factory=Fence)
    sent: dict[int, float] = field(default_factory=dict)

    def held(self) -> tuple[LeaseHeld, ...]:
        ended = {job_id: epoch for job_id, (epoch, _) in self.ended.items()}
        return tuple(LeaseHeld(job_id=job_id, epoch=epoch) for job_id, epoch in (*self.running.items(), *ended.items()))


class Grid:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.workers = [Worker(name) for name in NAMES]
        self.jobs: list[JobId] = []
        self.cancelled: set[JobId] = set()

    # --- events ---

    async def submit(self) -> None:
        if len(self.jobs) < 8:
            record, _ = await self.desk.jobs.submit(KEY, Submission("x", SCRIPT))
            self.jobs.append(record.id)

    def connect(self, worker: Worker) -> None:
        link = worker.link = MemoryLink(worker.name)
        worker.read = 0
        worker.sent.clear()
        worker.fence.opened(self.desk.now, FENCE_S, holding=bool(worker.held()))
        self.desk.dispatcher.connected(link)
        self.heartbeat(worker)
        self.desk.dispatcher.reported(link, REPORT)
        for job_id, epoch in worker.running.items():
            self.desk.dispatcher.job_message(link, job_id, epoch, Started(device="cpu"), 1)
        for job_id, (epoch, message) in worker.ended.items():
            self.desk.dispatcher.job_message(link, job_id, epoch, message, 1)

    def cut(self, worker: Worker) -> None:
        """The worker loses its link; the coordinator may not know yet."""
        worker.link = None

    def noticed(self, worker: Worker) -> None:
        link = self.desk.dispatcher.link_of(WorkerId(worker.name))
        if link is not None and worker.link is not link:
            self.desk.dispatcher.disconnected(link, "no answer")

    def kill(self, worker: Worker) -> None:
        worker.link = None
        worker.running.clear()
        worker.ended.clear()
        worker.fence = Fence()

    def heartbeat(self, worker: Worker) -> None:
        if worker.link is not None:
            seq = len(worker.sent) + 1
            worker.sent[seq] = self.desk.now
            self.desk.dispatcher.heartbeat(worker.link, Heartbeat(seq=seq, held=worker.held()))

    def deliver(self, worker: Worker) -> None:
        """The worker reads what it was told."""
        while worker.link is not None and worker.read < len(worker.link.sent):
            message = worker.link.sent[worker.read]
            worker.read += 1
            match message:
                case Assign():
                    worker.ended.pop(message.job_id, None)
                    worker.running[message.job_id] = message.epoch
                    self.desk.dispatcher.job_message(
                        worker.link, message.job_id, message.epoch, Started(device="cpu"), 1
                    )
                case Cancel() if worker.running.get(message.job_id) == message.epoch:
                    del worker.running[message.job_id]
                case Settled():
                    for lease in message.leases:
                        if worker.ended.get(lease.job_id, (0,))[0] == lease.epoch:
                            del worker.ended[lease.job_id]
                case HeartbeatAck():
                    worker.fence.renewed(worker.sent[message.seq])
                    for lease in message.lost:
                        if worker.running.get(lease.job_id) == lease.epoch:
                            del worker.running[lease.job_id]
                        if worker.ended.get(lease.job_id, (0,))[0] == lease.epoch:
                            del worker.ended[lease.job_id]
                case _:
                    pass

    def end(self, worker: Worker, how: FailCode | None) -> None:
        """The worker's oldest job ends."""
        for job_id, epoch in list(worker.running.items())[:1]:
            del worker.running[job_id]
            mark = f"{worker.name}/{epoch}"
            message: Finished | Failed = Finished(result=PythonDone(exit_code=0, ended=PythonEnd.OK, detail=mark))
            if how is not None:
                message = Failed(code=how, message="It did not go well.")
            worker.ended[job_id] = (epoch, message)
            if worker.link is not None:
                self.desk.dispatcher.job_message(worker.link, job_id, epoch, message, 1)

    async def cancel(self, number: int) -> None:
        if self.jobs:
            job_id = self.jobs[number % len(self.jobs)]
            if (await self.desk.jobs.cancel(job_id)).state is JobState.CANCELLED:
                self.cancelled.add(job_id)

    async def restart(self) -> None:
        """The coordinator dies between two events and starts anew."""
        for worker in self.workers:
            self.cut(worker)
        await self.desk.start()

    def tick(self, seconds: float) -> None:
        """Time passes, a little at a time, as the worker's and the coordinator's timers see it."""
        while seconds > 0:
            step = min(seconds, 0.5)
            seconds -= step
            self.desk.now += step
            for worker in self.workers:
                at = worker.fence.at
                if at is not None and self.desk.now >= at:
                    for _ in range(len(worker.running)):
                        self.end(worker, FailCode.FENCED)
            self.desk.dispatcher.expire_leases()

    # --- what must hold ---

    async def settle(self) -> None:
        for _ in range(3):
            await self.desk.jobs.close()
            await asyncio.sleep(0)
        await self.desk.jobs.close()

    async def check(self) -> None:
        self.desk.scheduler.check()
        for job_id in self.jobs:
            record = await self.desk.store.job(job_id)
            assert record is not None
            if record.state is JobState.DONE:
                assert record.outcome is not None
                done = decode_result(record.outcome.result)
                assert isinstance(done, PythonDone)
                assert done.detail == f"{record.worker}/{record.epoch}"
            runs = [
                worker.name for worker in self.workers if job_id in worker.running and not self.was_told(worker, job_id)
            ]
            assert len(runs) <= 1, f"{runs} run {job_id} at one time"

    def was_told(self, worker: Worker, job_id: JobId) -> bool:
        """It is on its way to the worker that the lease is over, or was when the link broke."""
        link = worker.link
        if link is None:
            return False
        return any(
            isinstance(message, HeartbeatAck) and any(lease.job_id == job_id for lease in message.lost)
            for message in link.sent[worker.read :]
        )

    async def calm_down(self) -> None:
        """Everybody comes back and does what it is told."""
        for _ in range(60):
            for worker in self.workers:
                if worker.link is None or self.desk.dispatcher.link_of(WorkerId(worker.name)) is not worker.link:
                    self.connect(worker)
                self.heartbeat(worker)
                self.deliver(worker)
                self.end(worker, None)
            await self.settle()
            self.tick(5.0)
            await self.settle()
            records = [await self.desk.store.job(job_id) for job_id in self.jobs]
            if all(record is not None and record.state.final for record in records):
                break
        for job_id, record in zip(self.jobs, records, strict=True):
            assert record is not None
            allowed = {JobState.CANCELLED} if job_id in self.cancelled else {JobState.DONE, JobState.DEAD}
            assert record.state in allowed, f"{job_id} is {record.state}"
        for worker in self.workers:
            self.heartbeat(worker)
            self.deliver(worker)
            assert worker.held() == ()


worker_numbers = st.integers(0, len(NAMES) - 1)
events = st.one_of(
    st.tuples(st.just("submit")),
    st.tuples(st.sampled_from(["connect", "cut", "noticed", "kill", "heartbeat", "deliver"]), worker_numbers),
    st.tuples(st.just("deliver"), worker_numbers),
    st.tuples(
        st.just("end"),
        worker_numbers,
        st.sampled_from([None, None, FailCode.CRASHED, FailCode.YIELDED, FailCode.NO_ROOM]),
    ),
    st.tuples(st.just("cancel"), st.integers(0, 7)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("tick"), st.sampled_from([0.5, 2.0, 11.0, 31.0])),
)
Event = tuple[str] | tuple[str, int] | tuple[str, float] | tuple[str, int, FailCode | None]


async def live_through(story: list[Event]) -> None:
    with tempfile.TemporaryDirectory(dir=_fast_disk()) as folder:
        async with open_desk(Path(folder)) as desk:
            grid = Grid(desk)
            for worker in grid.workers:
                grid.connect(worker)
            await grid.submit()
            for event in story:
                await act(grid, event)
                await grid.settle()
                await grid.check()
            await grid.calm_down()


async def act(grid: Grid, event: Event) -> None:
    match event:
        case ("submit",):
            await grid.submit()
        case ("restart",):
            await grid.restart()
        case ("cancel", int(number)):
            await grid.cancel(number)
        case ("tick", float(seconds)):
            grid.tick(seconds)
        case ("end", int(number), how):
            grid.end(grid.workers[number], how)
        case (str(name), int(number)):
            worker = grid.workers[number]
            {
                "connect": grid.connect,
                "cut": grid.cut,
                "noticed": grid.noticed,
                "kill": grid.kill,
                "heartbeat": grid.heartbeat,
                "deliver": grid.deliver,
            }[name](worker)


def _fast_disk() -> str | None:
    """What is tested is the order of things, not the disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(events, max_size=40))
def test_no_job_is_lost_or_completed_twice_whatever_happens(story: list[Event]) -> None:
    asyncio.run(live_through(story))

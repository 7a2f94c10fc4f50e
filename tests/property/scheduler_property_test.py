"""Whatever happens in whatever order: no overcommitment, no job in two places, nothing forgotten."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from coordinator.dispatch.placement import STREAMS_PER_WORKER, Need
from coordinator.dispatch.scheduler import Grant, Scheduler
from gogrid.ids import JobId, Sha256, WorkerId
from gogrid.protocol.worker_report import Device, DeviceKind, LoadedModel, Readiness, WorkerReport

MODELS = [Sha256(letter * 64) for letter in "abc"]


class Fleet(RuleBasedStateMachine):
    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(lease_s=30.0)
        self.now = 0.0
        self.count = 0
        self.needs: dict[JobId, Need] = {}
        self.reports: dict[WorkerId, WorkerReport] = {}

    @rule(target=workers, cap=st.integers(0, 10), cores=st.integers(1, 4), slots=st.integers(1, 6))
    def join(self, cap: int, cores: int, slots: int) -> WorkerId:
        self.count += 1
        worker_id = WorkerId(f"w{self.count}")
        report = WorkerReport(
            software="t",
            hostname="h",
            platform="p",
            readiness=Readiness.READY,
            reason="ready",
            devices=(Device(kind=DeviceKind.CPU, name="c", memory_bytes=cap, cap_bytes=cap, why=""),),
            engines=("torch",),
            sandbox="s",
            python_jobs=True,
            loaded=(LoadedModel(digest=MODELS[0], memory_bytes=1, running=0, slots=slots),),
            cores=cores,
        )
        self.scheduler.joined(worker_id, worker_id, draining=False)
        self.scheduler.reported(worker_id, report)
        self.reports[worker_id] = report
        return worker_id

    @rule(worker_id=consumes(workers))
    def leave(self, worker_id: WorkerId) -> None:
        for lost in self.scheduler.left(worker_id, "gone"):
            self.scheduler.retry(self.needs[lost.job_id], avoid=worker_id)
        self.reports.pop(worker_id)

    @rule(model=st.sampled_from([*MODELS, None]), memory=st.integers(0, 8))
    def submit(self, model: Sha256 | None, memory: int) -> None:
        self.count += 1
        job_id = JobId(f"j{self.count}")
        self.needs[job_id] = Need(job_id, model, "torch", memory, 0.0 if model else 1.0)
        self.scheduler.add(self.needs[job_id])

    @rule()
    def place(self) -> None:
        for instruction in self.scheduler.place(self.now):
            if isinstance(instruction, Grant):
                assert self.scheduler.lease(instruction.job_id) is not None

    @rule(index=st.integers(0, 1000))
    def end(self, index: int) -> None:
        if self.needs:
            job_id = list(self.needs)[index % len(self.needs)]
            self.scheduler.remove(job_id)
            del self.needs[job_id]

    @rule(step=st.floats(0.0, 20.0))
    def time_passes(self, step: float) -> None:
        self.now += step
        for lost in self.scheduler.expire(self.now):
            self.scheduler.retry(self.needs[lost.job_id], avoid=None)

    @invariant()
    def nothing_is_forgotten_or_doubled(self) -> None:
        self.scheduler.check()
        assert self.scheduler.waiting + self.scheduler.leased == len(self.needs)

    @invariant()
    def nobody_holds_more_than_it_can(self) -> None:
        for worker_id, report in self.reports.items():
            held = [self.needs[job_id] for job_id in self.scheduler.held_by(worker_id)]
            assert len(held) <= STREAMS_PER_WORKER
            scripts = [need for need in held if need.model is None]
            assert len(scripts) <= report.cores
            assert sum(need.memory_bytes for need in scripts) <= report.devices[0].cap_bytes
            for model in {need.model for need in held if need.model is not None}:
                assert max(need.memory_bytes for need in held if need.model == model) <= report.devices[0].cap_bytes
            on_loaded = [need for need in held if need.model == MODELS[0]]
            assert len(on_loaded) <= report.loaded[0].slots


FleetTest = Fleet.TestCase
FleetTest.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

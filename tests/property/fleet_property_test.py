"""Whatever happens to workers: the fleet's remembered answer is what the rules say of the workers as they are now."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coordinator.dispatch import fleet
from coordinator.dispatch.fleet import Fleet
from coordinator.dispatch.placement import Candidate, Held, Need, cost, may_return, never, not_now, with_one_more
from gogrid.ids import JobId, Sha256, WorkerId
from gogrid.protocol.worker_report import Device, DeviceKind, LoadedModel, Readiness, WorkerReport

MODELS = [Sha256(letter * 64) for letter in "ab"]
NEEDS = [
    Need(JobId(f"{model}-{memory}-{cores}"), model, "echo" if model else "", memory, cores)
    for model, memory, cores in ((MODELS[0], 2, 0.0), (MODELS[1], 3, 0.0), (None, 1, 1.0), (None, 3, 2.5))
]
_reports = st.builds(
    lambda cap, cores, slots, readiness: WorkerReport(
        software="t",
        hostname="h",
        platform="p",
        readiness=readiness,
        reason="r",
        devices=(Device(kind=DeviceKind.CPU, name="c", memory_bytes=cap, cap_bytes=cap, why=""),),
        engines=("echo",),
        sandbox="s",
        python_jobs=True,
        loaded=tuple(LoadedModel(digest=MODELS[0], memory_bytes=2, running=0, slots=slots) for _ in range(slots > 0)),
        cores=cores,
    ),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(0, 3),
    st.sampled_from([Readiness.READY, Readiness.READY, Readiness.PAUSED]),
)
_workers = st.sampled_from([WorkerId(f"w{number}") for number in range(5)])


class RememberingFleet(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet()
        self.held: dict[WorkerId, dict[JobId, Need]] = {}
        self.count = 0

    @rule(worker_id=_workers, draining=st.booleans(), quarantined=st.sampled_from(["", "", "it crashed"]))
    def join_or_leave(self, worker_id: WorkerId, draining: bool, quarantined: str) -> None:
        if worker_id in self.held:
            assert self.fleet.left(worker_id) == self.held.pop(worker_id)
        else:
            self.fleet.joined(worker_id, worker_id, draining, quarantined)
            self.held[worker_id] = {}

    @rule(worker_id=_workers, report=_reports)
    def report(self, worker_id: WorkerId, report: WorkerReport) -> None:
        self.fleet.reported(worker_id, report)

    @rule(worker_id=_workers, what=st.sampled_from(["silent", "draining", "quarantined"]), yes=st.booleans())
    def change(self, worker_id: WorkerId, what: str, yes: bool) -> None:
        match what:
            case "silent":
                self.fleet.set_silent(worker_id, yes)
            case "draining":
                self.fleet.set_draining(worker_id, yes)
            case _:
                self.fleet.set_quarantined(worker_id, "it crashed" if yes else "")

    @rule(kind=st.sampled_from(NEEDS))
    def take(self, kind: Need) -> None:
        self.count += 1
        need = Need(JobId(f"j{self.count}"), kind.model, kind.engine, kind.memory_bytes, kind.cores)
        best = self.fleet.best(need)
        if best is not None:
            self.fleet.take(best, need)
            self.held[best][need.job_id] = need

    @rule(worker_id=_workers, index=st.integers(0, 9))
    def give_back(self, worker_id: WorkerId, index: int) -> None:
        jobs = list(self.held.get(worker_id, ()))
        if jobs:
            job_id = jobs[index % len(jobs)]
            del self.held[worker_id][job_id]
            self.fleet.give_back(worker_id, job_id)

    @invariant()
    def the_answer_is_that_of_the_rules(self) -> None:
        for need in NEEDS:
            able, possible, returning, reasons = [], False, False, []
            for worker_id in self.held:
                candidate, held = self._seen(worker_id), self._sum(worker_id)
                why = never(need, candidate)
                possible = possible or not why
                returning = returning or may_return(need, candidate)
                why = why or not_now(need, candidate, held)
                if why:
                    reasons.append(f"{worker_id}: {why}")
                else:
                    able.append((cost(need, candidate, held), worker_id))
            assert self.fleet.best(need) == (min(able)[1] if able else None)
            assert self.fleet.is_hopeless(need) == (not possible)
            assert self.fleet.may_return(need) == returning
            assert self.fleet.reasons(need) == tuple(reasons)

    def _seen(self, worker_id: WorkerId) -> Candidate:
        return fleet._candidate(worker_id, self.fleet._members[worker_id])

    def _sum(self, worker_id: WorkerId) -> dict[Sha256 | None, Held]:
        held: dict[Sha256 | None, Held] = {}
        for need in self.held[worker_id].values():
            held[need.model] = with_one_more(held.get(need.model, Held(0, 0)), need)
        return held


FleetPropertyTest = RememberingFleet.TestCase
FleetPropertyTest.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

"""Whoever submits whatever: nobody starves, nothing waits that could run, and shares come out even."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.dispatch.placement import Need
from coordinator.dispatch.scheduler import Grant, Scheduler
from gogrid.ids import JobId, KeyId, Sha256, WorkerId
from gogrid.protocol.worker_report import Device, DeviceKind, LoadedModel, Readiness, WorkerReport

MODEL = Sha256("a" * 64)
GIB = 1 << 30


def report(*, cores: int = 4, slots: int = 4, ram: int = 8 * GIB) -> WorkerReport:
    return WorkerReport(
        software="t",
        hostname="h",
        platform="p",
        readiness=Readiness.READY,
        reason="ready",
        devices=(Device(kind=DeviceKind.CPU, name="c", memory_bytes=ram, cap_bytes=ram, why=""),),
        engines=("echo",),
        sandbox="s",
        python_jobs=True,
        loaded=(LoadedModel(digest=MODEL, memory_bytes=1, running=0, slots=slots),),
        cores=cores,
    )


class Grid:
    """A scheduler with workers, and jobs that run for as long as they were told."""

    def __init__(self, *workers: WorkerReport) -> None:
        self.scheduler = Scheduler(lease_s=1e9)
        self.now = 0.0
        self.count = 0
        self.needs: dict[JobId, Need] = {}
        self.lasts: dict[JobId, float] = {}
        self.ends: list[tuple[float, JobId]] = []
        self.started: list[JobId] = []
        self.used: Counter[str] = Counter()
        for number, worker in enumerate(workers):
            self.scheduler.joined(WorkerId(f"w{number}"), f"w{number}", draining=False)
            self.scheduler.reported(WorkerId(f"w{number}"), worker)

    def submit(
        self, owner: str, *, seconds: float = 1.0, model: bool = True, cores: float = 1.0, priority: int = 0,
        interactive: bool = False, not_before: float = 0.0,
    ) -> JobId:  # fmt: skip
        self.count += 1
        job_id = JobId(f"{owner}-{self.count}")
        need = Need(
            job_id, MODEL if model else None, "echo" if model else "", 1, 0.0 if model else cores,
            owner=KeyId(owner), priority=priority, interactive=interactive, not_before=not_before,
        )  # fmt: skip
        self.needs[job_id], self.lasts[job_id] = need, seconds
        self.scheduler.add(need)
        return job_id

    def place(self) -> list[JobId]:
        granted = [order.job_id for order in self.scheduler.place(self.now) if isinstance(order, Grant)]
        self.ends += [(self.now + self.lasts[job_id], job_id) for job_id in granted]
        self.started += granted
        self.scheduler.check()
        return granted

    def end_next(self) -> JobId:
        self.ends.sort()
        self.now, job_id = self.ends.pop(0)
        self.used[job_id.split("-")[0]] += self.lasts[job_id]
        self.scheduler.remove(job_id)
        return job_id

    def run(self, ends: int) -> None:
        for _ in range(ends):
            if not self.ends:
                return
            self.end_next()
            self.place()


def test_one_keys_flood_does_not_delay_anothers_single_job() -> None:
    grid = Grid(report(slots=2))
    for _ in range(10_000):
        grid.submit("noisy")
    grid.place()
    single = grid.submit("quiet")
    assert grid.scheduler.position(single) == 0
    grid.place()
    grid.end_next()
    assert grid.place() == [single]


@pytest.mark.parametrize("model", [True, False])
def test_shares_of_two_keys_with_equal_jobs_are_even(model: bool) -> None:
    grid = Grid(report(), report())
    for owner in ("a", "b", "a"):
        for _ in range(400):
            grid.submit(owner, model=model)
    grid.place()
    grid.run(400)
    assert abs(grid.used["a"] - grid.used["b"]) <= 16


@settings(max_examples=15, deadline=None)
@given(
    lasts=st.lists(st.sampled_from([0.5, 1.0, 10.0]), min_size=2, max_size=3),
    workers=st.integers(1, 3),
    cores=st.integers(1, 4),
)
def test_shares_converge_in_time_however_long_the_jobs_of_each_are(
    lasts: list[float], workers: int, cores: int
) -> None:
    grid = Grid(*(report(cores=cores) for _ in range(workers)))

    def refill() -> None:
        for owner, seconds in enumerate(lasts):
            for _ in range(14):
                grid.submit(f"o{owner}", seconds=seconds, model=False)

    refill()
    grid.place()
    span = 15 * max(lasts) * len(lasts)
    while grid.now < span:
        ended = grid.end_next()
        owner = ended.split("-")[0]
        grid.submit(owner, seconds=grid.lasts[ended], model=False)
        grid.place()
    fair = sum(grid.used.values()) / len(lasts)
    # What is being run is not counted yet, and shares come in whole jobs.
    slack = max(lasts) * (workers * cores + 2)
    for owner in range(len(lasts)):
        assert abs(grid.used[f"o{owner}"] - fair) <= 0.2 * fair + slack, grid.used


def test_interactive_requests_come_before_durable_jobs_of_any_priority() -> None:
    grid = Grid(report(slots=1))
    durable = grid.submit("a", priority=100)
    waits = grid.submit("b", interactive=True)
    assert grid.place() == [waits]
    assert grid.scheduler.position(durable) == 0


def test_higher_priorities_come_first_and_equal_ones_in_order() -> None:
    grid = Grid(report(slots=1))
    first, second, urgent, late = (grid.submit("a", priority=priority) for priority in (0, 0, 5, -5))
    assert [grid.scheduler.position(job) for job in (urgent, first, second, late)] == [0, 1, 2, 3]
    grid.place()
    grid.run(3)
    assert grid.started == [urgent, first, second, late]


@pytest.mark.parametrize("seconds", [0.001, 60.0])
def test_the_lowest_priority_runs_though_the_highest_never_ends(seconds: float) -> None:
    grid = Grid(report(slots=1))
    low = grid.submit("low", priority=-100)
    for _ in range(5):
        grid.submit("high", priority=100, seconds=seconds)
    grid.place()
    for _ in range(4000):
        grid.end_next()
        grid.submit("high", priority=100, seconds=seconds)
        grid.place()
        if low in grid.started:
            break
    assert low in grid.started
    assert len(grid.started) > 50, "a priority must mean something"


def test_a_durable_job_runs_though_requests_never_end() -> None:
    grid = Grid(report(slots=1))
    job = grid.submit("batch")
    grid.submit("chat", interactive=True)
    grid.submit("chat", interactive=True)
    grid.place()
    for _ in range(4000):
        grid.end_next()
        grid.submit("chat", interactive=True)
        grid.place()
        if job in grid.started:
            return
    raise AssertionError("the durable job starved")


def test_a_large_job_is_not_passed_by_small_ones_for_ever() -> None:
    grid = Grid(report(cores=4))
    for _ in range(6):
        grid.submit("small", model=False, cores=1.0, seconds=10.0)
    grid.place()
    large = grid.submit("large", model=False, cores=4.0, seconds=10.0)
    for _ in range(200):
        grid.end_next()
        grid.now += 0.5  # never all at the same moment
        grid.submit("small", model=False, cores=1.0, seconds=10.0)
        grid.place()
        if large in grid.started:
            break
    assert large in grid.started
    assert grid.now < 200
    grid.run(8)
    assert grid.started[-1].startswith("small"), "afterwards small ones run again"


def test_a_worker_kept_free_is_used_though_smaller_jobs_are_first_in_line() -> None:
    grid = Grid(report(cores=4))
    grid.submit("busy", model=False, cores=4.0, seconds=1000.0)
    grid.place()
    large = grid.submit("busy", model=False, cores=4.0)
    for grid.now in (1.0, 100.0):
        grid.place()
    small = grid.submit("idle", model=False, cores=1.0)
    assert grid.scheduler.position(small) == 0, "it stands lower, for its key has had nothing"
    assert grid.scheduler.reasons(small) == ("w0: all its cores run Python jobs",)
    grid.end_next()
    assert grid.scheduler.reasons(small) == ("w0: it is kept free for a job that has waited longer",)
    assert grid.place() == [large]
    grid.end_next()
    assert grid.place() == [small]


def test_a_job_that_may_not_start_yet_waits_and_keeps_its_place() -> None:
    grid = Grid(report(slots=1))
    later = grid.submit("a", not_before=10.0)
    other = grid.submit("a")
    assert grid.place() == [other]
    third = grid.submit("a")
    assert grid.scheduler.next_due() == 10.0
    assert grid.scheduler.reasons(later) == ("it was given back and is tried again in 10 s",)
    grid.now = 10.0
    assert grid.place() == []
    assert grid.scheduler.position(later) == 0
    assert grid.scheduler.position(third) == 1
    assert grid.scheduler.next_due() is None


def test_a_lost_durable_job_has_its_old_place() -> None:
    grid = Grid(report(slots=1))
    first = grid.submit("a")
    grid.submit("a")
    grid.place()
    lease = grid.scheduler.release(first)
    assert lease is not None
    grid.scheduler.retry(lease.need, avoid=None)
    grid.ends.clear()
    assert grid.place() == [first]


def test_an_answer_that_lost_its_worker_goes_before_everything() -> None:
    grid = Grid(report(slots=1))
    moved = grid.submit("busy", interactive=True)
    grid.place()
    for owner in ("a", "b"):
        grid.submit(owner, interactive=True)
    lease = grid.scheduler.release(moved)
    assert lease is not None
    grid.scheduler.retry(lease.need, avoid=None)
    grid.ends.clear()
    assert grid.place() == [moved]


_job = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.booleans(),
    st.sampled_from([0.5, 1.0, 3.0]),
    st.sampled_from([-10, 0, 10]),
    st.booleans(),
)


@settings(max_examples=100, deadline=None)
@given(jobs=st.lists(_job, min_size=1, max_size=60), ends=st.integers(0, 80), workers=st.integers(1, 3))
def test_nothing_waits_that_could_run_and_everything_runs_once(
    jobs: list[tuple[str, bool, float, int, bool]], ends: int, workers: int
) -> None:
    grid = Grid(*(report(cores=3) for _ in range(workers)))
    for owner, model, cores, priority, interactive in jobs:
        grid.submit(owner, model=model, cores=cores, priority=priority, interactive=interactive and model)
    grid.place()
    for _ in range(ends):
        waiting = [need for job_id, need in grid.needs.items() if grid.scheduler.position(job_id) is not None]
        assert [need.job_id for need in waiting if grid.scheduler.outlook(need).worker_id is not None] == []
        if not grid.ends:
            break
        grid.end_next()
        grid.place()
    while grid.ends:
        grid.end_next()
        grid.place()
    assert sorted(grid.started) == sorted(grid.needs)
    assert grid.scheduler.waiting == grid.scheduler.leased == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_positions_are_a_permutation_of_who_comes_next_for_one_key(data: st.DataObject) -> None:
    grid = Grid(report(slots=1))
    priorities = data.draw(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
    jobs = [grid.submit("a", priority=priority) for priority in priorities]
    gone = data.draw(st.sets(st.sampled_from(jobs), max_size=len(jobs) - 1))
    for job_id in gone:
        grid.scheduler.remove(job_id)
    left = [job_id for job_id in jobs if job_id not in gone]
    assert sorted(grid.scheduler.position(job_id) for job_id in left) == list(range(len(left)))
    assert grid.scheduler.position(jobs[0]) is None or jobs[0] in left

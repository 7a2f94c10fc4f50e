"""The scheduler's promises, each by name. Time is a number here."""

import dataclasses

import pytest

from coordinator.dispatch.placement import STREAMS_PER_WORKER, Need
from coordinator.dispatch.scheduler import Grant, Hopeless, Lost, Scheduler
from gogrid.ids import JobId, Sha256, WorkerId
from gogrid.protocol.measured import MeasuredSpeed
from gogrid.protocol.worker_report import Device, DeviceKind, LoadedModel, Readiness, WorkerReport

GIB = 1 << 30
MODEL = Sha256("a" * 64)
OTHER = Sha256("b" * 64)


def report(
    *,
    cap: int = 8 * GIB,
    readiness: Readiness = Readiness.READY,
    reason: str = "ready",
    loaded: tuple[LoadedModel, ...] = (),
    cached: tuple[Sha256, ...] = (),
    kind: DeviceKind = DeviceKind.CPU,
    cores: int = 2,
    python_jobs: bool = True,
    tokens_per_s: float | None = None,
) -> WorkerReport:
    devices = (Device(kind=kind, name="d", memory_bytes=cap, cap_bytes=cap, why="test"),)
    if kind is not DeviceKind.CPU:
        devices += (Device(kind=DeviceKind.CPU, name="c", memory_bytes=cap, cap_bytes=cap, why="test"),)
    return WorkerReport(
        software="gogrid/test",
        hostname="host",
        platform="linux-x86_64",
        readiness=readiness,
        reason=reason,
        devices=devices,
        engines=("torch",),
        sandbox="test",
        python_jobs=python_jobs,
        loaded=loaded,
        cached=cached,
        cores=cores,
        speed=MeasuredSpeed(tokens_per_s, 1.0, 1e9) if tokens_per_s is not None else None,
    )


def loaded(model: Sha256, *, slots: int = 4) -> LoadedModel:
    return LoadedModel(digest=model, memory_bytes=GIB, running=0, slots=slots)


def need(name: str, *, model: Sha256 | None = MODEL, memory: int = GIB) -> Need:
    return Need(JobId(name), model, "torch" if model else "", memory, 0.0 if model else 1.0)


def worker(scheduler: Scheduler, name: str, what: WorkerReport | None = None) -> WorkerId:
    worker_id = WorkerId(name)
    scheduler.joined(worker_id, name, draining=False)
    scheduler.reported(worker_id, what if what is not None else report())
    return worker_id


@pytest.fixture
def scheduler():
    made = Scheduler(lease_s=30.0)
    yield made
    made.check()


def test_of_two_workers_that_are_equal_otherwise_the_one_measured_faster_is_taken(scheduler: Scheduler) -> None:
    worker(scheduler, "a unmeasured")
    worker(scheduler, "b slow", report(tokens_per_s=40.0))
    fast = worker(scheduler, "c fast", report(tokens_per_s=300.0))
    scheduler.add(need("j"))
    assert scheduler.place(0.0) == [Grant(JobId("j"), fast)]


def test_a_measured_speed_decides_nothing_that_something_else_decides(scheduler: Scheduler) -> None:
    worker(scheduler, "fast", report(tokens_per_s=300.0))
    warm = worker(scheduler, "warm", report(loaded=(loaded(MODEL),)))
    scheduler.add(need("j"))
    assert scheduler.place(0.0) == [Grant(JobId("j"), warm)]


@pytest.mark.parametrize("told", [-5.0, float("nan"), float("inf"), 1e9])
def test_a_worker_that_claims_an_impossible_speed_is_not_preferred(scheduler: Scheduler, told: float) -> None:
    honest = worker(scheduler, "z honest", report(tokens_per_s=1.0))
    worker(scheduler, "a liar", report(tokens_per_s=told))
    scheduler.add(need("j"))
    assert scheduler.place(0.0) == [Grant(JobId("j"), honest)]


def test_a_job_goes_to_the_worker_that_has_the_model_loaded(scheduler: Scheduler) -> None:
    worker(scheduler, "downloads")
    worker(scheduler, "cached", report(cached=(MODEL,)))
    warm = worker(scheduler, "warm", report(loaded=(loaded(MODEL),), cached=(MODEL,)))
    scheduler.add(need("j"))
    assert scheduler.place(0.0) == [Grant(JobId("j"), warm)]


def test_a_gpu_is_preferred_to_a_cpu_at_the_same_distance(scheduler: Scheduler) -> None:
    worker(scheduler, "a-cpu")
    gpu = worker(scheduler, "b-gpu", report(kind=DeviceKind.CUDA))
    scheduler.add(need("j"))
    assert scheduler.place(0.0) == [Grant(JobId("j"), gpu)]


def test_an_idle_warm_worker_is_preferred_to_a_busy_warm_one(scheduler: Scheduler) -> None:
    first = worker(scheduler, "a", report(loaded=(loaded(MODEL),)))
    second = worker(scheduler, "b", report(loaded=(loaded(MODEL),)))
    for name in ("1", "2", "3", "4"):
        scheduler.add(need(name))
    granted = [grant.worker_id for grant in scheduler.place(0.0) if isinstance(grant, Grant)]
    assert granted == [first, second, first, second]


def test_no_worker_gets_more_requests_than_slots(scheduler: Scheduler) -> None:
    worker(scheduler, "a", report(loaded=(loaded(MODEL, slots=2),)))
    for name in ("1", "2", "3"):
        scheduler.add(need(name))
    assert len(scheduler.place(0.0)) == 2
    assert scheduler.waiting == 1
    assert scheduler.reasons(JobId("3")) == ("a: all its slots for this model are busy",)
    scheduler.remove(JobId("1"))
    assert scheduler.place(0.0) == [Grant(JobId("3"), WorkerId("a"))]


def test_no_worker_gets_more_jobs_than_a_connection_may_have_streams(scheduler: Scheduler) -> None:
    worker(scheduler, "a", report(loaded=(loaded(MODEL, slots=100),)))
    for number in range(STREAMS_PER_WORKER + 1):
        scheduler.add(need(str(number)))
    assert len(scheduler.place(0.0)) == STREAMS_PER_WORKER
    assert scheduler.reasons(JobId(str(STREAMS_PER_WORKER))) == ("a: it has as many jobs as a worker may have",)


def test_a_model_over_the_owners_cap_is_hopeless_and_says_the_numbers(scheduler: Scheduler) -> None:
    worker(scheduler, "small", report(cap=GIB))
    scheduler.add(need("j", memory=4 * GIB))
    (answer,) = scheduler.place(0.0)
    assert isinstance(answer, Hopeless)
    assert answer.reasons == ("small: the model needs about 4.3 GB, its cpu limit is 1.1 GB",)


def test_models_at_work_are_not_pushed_out(scheduler: Scheduler) -> None:
    worker(scheduler, "a", report(cap=3 * GIB, loaded=(loaded(MODEL),)))
    scheduler.add(need("1", memory=2 * GIB))
    scheduler.add(need("2", model=OTHER, memory=2 * GIB))
    assert scheduler.place(0.0) == [Grant(JobId("1"), WorkerId("a"))]
    assert scheduler.reasons(JobId("2")) == ("a: its memory is taken by models that are working",)


def test_a_paused_worker_gets_nothing_and_its_reason_is_told_but_it_may_come_back(scheduler: Scheduler) -> None:
    worker(scheduler, "a", report(readiness=Readiness.PAUSED, reason="paused: computer is in use"))
    scheduler.add(need("j"))
    assert scheduler.place(0.0) == []
    assert scheduler.reasons(JobId("j")) == ("a: paused: computer is in use",)


def test_a_worker_that_cannot_work_is_not_waited_for(scheduler: Scheduler) -> None:
    worker(scheduler, "a", report(readiness=Readiness.UNABLE, reason="no sandbox works"))
    scheduler.add(need("j"))
    assert scheduler.place(0.0) == [Hopeless(JobId("j"), ("a: no sandbox works",))]


def test_a_silent_worker_gets_nothing_but_the_job_waits_for_it(scheduler: Scheduler) -> None:
    quiet = worker(scheduler, "a")
    scheduler.set_silent(quiet, True)
    scheduler.add(need("j"))
    assert scheduler.place(0.0) == []
    scheduler.set_silent(quiet, False)
    assert scheduler.place(0.0) == [Grant(JobId("j"), quiet)]


def test_a_worker_before_its_first_report_is_waited_for(scheduler: Scheduler) -> None:
    scheduler.joined(WorkerId("a"), "a", draining=False)
    scheduler.add(need("j"))
    assert scheduler.place(0.0) == []
    assert scheduler.reasons(JobId("j")) == ("a: it has just connected",)


def test_a_draining_worker_keeps_its_jobs_and_gets_no_new_ones(scheduler: Scheduler) -> None:
    busy = worker(scheduler, "a")
    scheduler.add(need("1"))
    scheduler.place(0.0)
    scheduler.set_draining(busy, True)
    scheduler.add(need("2"))
    assert scheduler.place(0.0) == [Hopeless(JobId("2"), ("a: the admin drains it",))]
    assert scheduler.lease(JobId("1")) is not None


def test_a_worker_that_leaves_gives_every_interactive_lease_back_once(scheduler: Scheduler) -> None:
    gone = worker(scheduler, "a")
    for name in ("1", "2"):
        scheduler.add(dataclasses.replace(need(name), interactive=True))
    scheduler.place(0.0)
    lost = scheduler.left(gone, "link lost")
    assert lost == [Lost(JobId("1"), gone, "link lost"), Lost(JobId("2"), gone, "link lost")]
    assert scheduler.left(gone, "link lost") == []
    assert scheduler.leased == 0


def test_a_lease_without_heartbeats_runs_out(scheduler: Scheduler) -> None:
    holder = worker(scheduler, "a")
    for name in ("1", "2"):
        scheduler.add(need(name))
    scheduler.place(0.0)
    assert scheduler.renew(JobId("1"), holder, 20.0)
    assert scheduler.expire(29.9) == []
    assert scheduler.expire(30.0) == [Lost(JobId("2"), holder, "its lease ran out")]
    assert scheduler.lease(JobId("1")) is not None


def test_only_the_holder_renews_a_lease(scheduler: Scheduler) -> None:
    worker(scheduler, "a")
    scheduler.add(need("1"))
    scheduler.place(0.0)
    assert not scheduler.renew(JobId("1"), WorkerId("thief"), 1.0)
    assert not scheduler.renew(JobId("none"), WorkerId("a"), 1.0)


def test_a_lost_job_waits_first_and_goes_to_another_worker(scheduler: Scheduler) -> None:
    bad = worker(scheduler, "a")
    good = worker(scheduler, "b")
    scheduler.add(need("1"))
    (grant,) = scheduler.place(0.0)
    assert isinstance(grant, Grant)
    assert grant.worker_id == bad
    lease = scheduler.release(JobId("1"))
    scheduler.add(need("2"))
    assert lease is not None
    scheduler.retry(lease.need, avoid=bad)
    assert scheduler.position(JobId("1")) == 0
    assert Grant(JobId("1"), good) in scheduler.place(0.0)


def test_a_lost_job_goes_back_to_the_only_worker_there_is(scheduler: Scheduler) -> None:
    only = worker(scheduler, "a")
    scheduler.retry(need("1"), avoid=only)
    assert scheduler.place(0.0) == [Grant(JobId("1"), only)]


def test_python_jobs_take_no_more_memory_or_cores_than_there_are(scheduler: Scheduler) -> None:
    worker(scheduler, "a", report(cap=4 * GIB, cores=2))
    for name in ("1", "2", "3"):
        scheduler.add(need(name, model=None, memory=GIB))
    assert len(scheduler.place(0.0)) == 2
    assert scheduler.reasons(JobId("3")) == ("a: all its cores run Python jobs",)
    scheduler.remove(JobId("1"))
    scheduler.remove(JobId("3"))
    scheduler.add(need("4", model=None, memory=int(3.5 * GIB)))
    assert scheduler.place(0.0) == []
    assert scheduler.reasons(JobId("4")) == ("a: the script needs 3.8 GB of memory and 3.2 GB is free",)


def test_a_python_job_that_asks_for_more_cores_than_there_are_is_hopeless(scheduler: Scheduler) -> None:
    worker(scheduler, "a", report(cores=2))
    scheduler.add(dataclasses.replace(need("1", model=None), cores=4.0))
    assert scheduler.place(0.0) == [Hopeless(JobId("1"), ("a: the job asks for 4 cores of 2",))]


def test_a_worker_without_a_full_sandbox_gets_no_python_jobs(scheduler: Scheduler) -> None:
    worker(scheduler, "a", report(python_jobs=False))
    scheduler.add(need("1", model=None))
    (answer,) = scheduler.place(0.0)
    assert answer == Hopeless(JobId("1"), ("a: its sandbox is not enough for Python jobs",))


def test_the_same_job_cannot_be_scheduled_twice(scheduler: Scheduler) -> None:
    scheduler.add(need("1"))
    with pytest.raises(ValueError, match="already scheduled"):
        scheduler.add(dataclasses.replace(need("1")))


def test_no_start_is_foretold_while_nobody_takes_such_jobs(scheduler: Scheduler) -> None:
    only = worker(scheduler, "a", report(cores=1))
    for name in ("1", "2", "3"):
        scheduler.add(need(name, model=None))
        scheduler.place(float(name))
        scheduler.release(JobId(name))
    for name in ("4", "5"):
        scheduler.add(need(name, model=None))
    scheduler.place(4.0)
    assert scheduler.starts_in(JobId("5")) is not None
    scheduler.reported(only, report(readiness=Readiness.PAUSED, reason="paused by its owner"))
    assert scheduler.starts_in(JobId("5")) is None

"""Leases of workers that are away: kept, counted, given back once; the scheduler's part. Time is a number here."""

import pytest

from coordinator.dispatch.placement import Need
from coordinator.dispatch.scheduler import Grant, Lost, Scheduler
from gogrid.ids import JobId, WorkerId
from tests.fakes.durable import REPORT

A, B = WorkerId("a"), WorkerId("b")
LEASE_S = 30.0


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler(LEASE_S)


def script(name: str, cores: float = 1.0) -> Need:
    return Need(JobId(name), None, "", 1 << 20, cores)


def join(scheduler: Scheduler, worker_id: WorkerId) -> None:
    scheduler.joined(worker_id, worker_id, draining=False)
    scheduler.reported(worker_id, REPORT)


def test_a_durable_lease_outlives_its_connection_and_an_interactive_one_does_not(scheduler: Scheduler) -> None:
    join(scheduler, A)
    scheduler.add(script("kept"))
    scheduler.add(Need(JobId("moved"), None, "", 1 << 20, 1.0, interactive=True))
    scheduler.place(0.0)
    assert scheduler.left(A, "no answer") == [Lost(JobId("moved"), A, "no answer")]
    scheduler.check()
    assert (scheduler.held_by(A), scheduler.leased) == (("kept",), 1)
    assert scheduler.expire(LEASE_S - 0.1) == []
    assert scheduler.expire(LEASE_S) == [Lost(JobId("kept"), A, "its lease ran out")]
    scheduler.check()
    assert (scheduler.held_by(A), scheduler.leased) == ((), 0)


def test_who_leaves_for_good_leaves_nothing(scheduler: Scheduler) -> None:
    join(scheduler, A)
    scheduler.add(script("x"))
    scheduler.place(0.0)
    assert scheduler.left(A, "it stops", for_good=True) == [Lost(JobId("x"), A, "it stops")]
    scheduler.check()
    assert scheduler.leased == 0


def test_what_a_worker_comes_back_with_takes_its_room(scheduler: Scheduler) -> None:
    join(scheduler, A)
    scheduler.add(script("big", cores=3.0))
    scheduler.place(0.0)
    scheduler.left(A, "no answer")
    join(scheduler, A)
    scheduler.check()
    scheduler.add(script("other", cores=3.0))
    assert scheduler.place(1.0) == []
    scheduler.remove(JobId("big"))
    assert scheduler.place(2.0) == [Grant(JobId("other"), A)]


def test_an_adopted_lease_runs_for_a_whole_lease_time_whether_its_worker_comes_or_not(scheduler: Scheduler) -> None:
    scheduler.adopt(script("x"), A, 100.0)
    scheduler.adopt(script("y"), B, 100.0)
    scheduler.check()
    join(scheduler, A)
    assert scheduler.renew(JobId("x"), A, 110.0)
    assert not scheduler.renew(JobId("x"), B, 110.0)
    assert scheduler.expire(129.9) == []
    assert scheduler.expire(130.0) == [Lost(JobId("y"), B, "its lease ran out")]
    assert scheduler.held_by(A) == ("x",)
    scheduler.check()


def test_a_cancelled_job_is_forgotten_though_its_worker_is_away(scheduler: Scheduler) -> None:
    join(scheduler, A)
    scheduler.add(script("x"))
    scheduler.place(0.0)
    scheduler.left(A, "no answer")
    assert scheduler.remove(JobId("x")) is not None
    scheduler.check()
    join(scheduler, A)
    assert scheduler.held_by(A) == ()

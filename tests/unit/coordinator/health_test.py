"""When a job is poison and when a worker is sick."""

import pytest

from coordinator.durable.health import WorkerHealth, after_crash, after_success, back_off_s, fence_counts, is_poison
from gogrid.ids import JobId, WorkerId

A, B, C = WorkerId("a"), WorkerId("b"), WorkerId("c")


@pytest.mark.parametrize(
    ("crashed_on", "poison"),
    [
        ([], False),
        ([A, B], False),
        ([A, A, A], False),
        ([A, A, B], True),
        ([A, B, C], True),
        ([A] * 4, False),
        ([A] * 5, True),
    ],
)
def test_three_crashes_on_two_workers_or_five_on_one_are_poison(crashed_on: list[WorkerId], poison: bool) -> None:
    assert is_poison(crashed_on) is poison


def test_every_third_fenced_lease_is_held_against_its_job() -> None:
    assert [fences for fences in range(1, 10) if fence_counts(fences)] == [3, 6, 9]


def test_the_waits_grow_and_are_spread() -> None:
    assert [back_off_s(crashes, 0.5) for crashes in (1, 2, 3, 4, 99)] == [1.0, 5.0, 25.0, 25.0, 25.0]
    assert (back_off_s(1, 0.0), back_off_s(1, 1.0)) == pytest.approx((0.8, 1.2))


def crashed(*jobs: str) -> WorkerHealth:
    health = WorkerHealth()
    for job in jobs:
        health = after_crash(health, JobId(job), "the engine died.")
    return health


def test_three_crashes_in_a_row_of_two_jobs_make_a_worker_sick() -> None:
    assert crashed("x", "y").quarantined == ""
    assert crashed("x", "y", "x").quarantined == (
        "3 jobs in a row crashed on it, the last one because: the engine died"
    )


def test_one_jobs_crashes_alone_make_no_worker_sick() -> None:
    assert crashed(*["x"] * 9).quarantined == ""
    assert crashed(*["x"] * 9, "y").quarantined != ""


def test_a_success_between_ends_the_row_but_no_quarantine() -> None:
    health = after_crash(after_success(crashed("x", "y")), JobId("z"), "boom")
    assert (health.crashed_jobs, health.quarantined) == (("z",), "")
    sick = crashed("x", "y", "z")
    assert after_success(sick) == WorkerHealth((), sick.quarantined)
    assert after_crash(sick, JobId("w"), "later").quarantined == sick.quarantined

"""What a person is told of a job that waits: each reason once, and again when it comes back."""

import pytest

from gogrid.client.answers import Job
from gogrid.client.waiting import Reasons


def job(*why: str, state: str = "queued", start_s: float | None = None) -> Job:
    return Job(
        id="job_1",
        kind="python",
        label="a.py",
        state=state,
        waiting_for=why,
        queue_position=0,
        estimated_start_s=start_s,
    )


def test_a_reason_is_said_again_whenever_it_changes() -> None:
    reasons = Reasons()
    said = [
        reasons.sentence(job(*why))
        for why in (("vm: paused by its owner",), ("vm: paused by its owner",), ("vm: it drains",), (), ())
    ]
    assert said == [
        "job_1 waits (vm: paused by its owner). Ctrl-C cancels it.",
        None,
        "job_1 waits (vm: it drains). Ctrl-C cancels it.",
        "job_1 waits (all workers are busy). Ctrl-C cancels it.",
        None,
    ]


def test_a_reason_that_comes_back_is_said_again() -> None:
    reasons = Reasons()
    assert reasons.sentence(job("vm: paused")) is not None
    assert reasons.sentence(job("vm: offline")) is not None
    assert reasons.sentence(job("vm: paused")) is not None
    assert reasons.sentence(job(state="running")) is None
    assert reasons.sentence(job("vm: paused")) is not None


@pytest.mark.parametrize(
    ("first", "second", "again"),
    [
        ("vm: it is downloading 3%", "vm: it is downloading 40%", False),
        ("other programs used 63.5% (50% allowed)", "other programs used 7% (50% allowed)", False),
        ("gpu-1: paused", "gpu-2: paused", True),
        ("vm1: paused", "vm2: paused", True),
    ],
    ids=["percent", "load", "other_worker", "other_name"],
)
def test_a_figure_is_no_other_reason_and_a_name_is(first: str, second: str, again: bool) -> None:
    reasons = Reasons()
    assert reasons.sentence(job(first)) is not None
    assert (reasons.sentence(job(second)) is not None) is again


def test_an_estimate_that_moves_is_no_other_reason() -> None:
    reasons = Reasons()
    assert (
        reasons.sentence(job("busy", start_s=65.0)) == "job_1 waits, starts in about 1 min (busy). Ctrl-C cancels it."
    )
    assert reasons.sentence(job("busy", start_s=30.0)) is None

"""`doctor`'s findings as a person reads them."""

import pytest
from msgspec.structs import replace

from gogrid.protocol.worker_report import Readiness
from runner.control_messages import WorkerStatus
from tests.fakes.worker_status import READY
from tray.commands.doctor import Check, findings_text, running_worker


def test_findings_stand_in_columns() -> None:
    checks = (Check("disk", True, "much"), Check("UDP (QUIC)", False, "no answer"))
    assert findings_text(checks) == "ok     disk        much\nWRONG  UDP (QUIC)  no answer"


LOAD = "other programs used 97% of the processor (50% allowed)"


def test_doctor_says_that_the_worker_stands_back_now_and_why() -> None:
    held = (LOAD, "on battery")
    paused = replace(READY, readiness=Readiness.PAUSED, reason=LOAD, holds=held)
    assert running_worker(paused) == Check(
        "worker",
        True,
        "it stands back now, paused: other programs used 97% of the processor (50% allowed; the setting is"
        " max_other_load); also: on battery",
    )


@pytest.mark.parametrize(
    ("status", "check"),
    [
        (READY, Check("worker", True, "ready")),
        (replace(READY, readiness=Readiness.UNABLE, reason="no engine"), Check("worker", False, "unable: no engine")),
        (
            replace(READY, connected=False, connection="not connected: nobody answers."),
            Check("worker", False, "not connected: nobody answers."),
        ),
    ],
    ids=["ready", "unable", "away"],
)
def test_doctor_says_what_else_the_worker_that_runs_does(status: WorkerStatus, check: Check) -> None:
    assert running_worker(status) == check

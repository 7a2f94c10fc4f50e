"""Which layers of the Windows sandbox count as proved. A layer that its own attack got through never does."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as altered

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import SandboxReport, SandboxSpec
from runner.sandbox.windows.command import job_limits
from runner.sandbox.windows.self_test import WindowsProbeReport, judge
from sandbox_profiles import windows

WANTED = job_limits(SandboxSpec(arguments=(), memory_bytes=1 << 28, processes=6), processors=4)
GOOD = WindowsProbeReport(
    privileges=frozenset({"SeChangeNotifyPrivilege"}),
    groups=frozenset({"S-1-1-0", "S-1-5-32-545"}),
    integrity=0x1000,
    wrote=False,
    inherited=False,
    left_job=False,
    environment=frozenset({"SystemRoot", "TEMP", "PATH"}),
    processes_started=6,
    memory_refused=True,
)


def judged(seen: WindowsProbeReport) -> SandboxReport:
    return judge("the sandbox", seen, ended=True, wanted=WANTED, told=WANTED)


def test_machine_that_enforces_all_runs_models_and_no_scripts() -> None:
    report = judged(GOOD)
    assert set(windows.REQUIRED_LAYERS) <= set(report.layers)
    assert report.missing == windows.NEVER_ENFORCED
    assert not report.python_jobs
    assert not report.remaps


@pytest.mark.parametrize(
    ("fault", "layer"),
    [
        ({"left_job": True}, "no way out of the job"),
        ({"privileges": frozenset({"SeChangeNotifyPrivilege", "SeDebugPrivilege"})}, "restricted token"),
        ({"groups": frozenset({"S-1-5-32-544"})}, "restricted token"),
        ({"groups": frozenset({"S-1-5-21-1-2-3-512"})}, "restricted token"),
        ({"wrote": True}, "no writing to the owner's files"),
        ({"integrity": 0x2000}, "no writing to the owner's files"),
        ({"inherited": True}, "no inherited handles"),
        ({"environment": frozenset({"SystemRoot", "GOGRID_SECRET"})}, "clean environment"),
    ],
)
def test_required_layer_that_is_broken_refuses_the_machine(fault: dict[str, object], layer: str) -> None:
    with pytest.raises(SandboxUnavailableError, match=f"did not enforce: {layer}"):
        judged(altered(GOOD, **fault))


def test_sandbox_that_outlives_its_worker_refuses_the_machine() -> None:
    with pytest.raises(SandboxUnavailableError, match="ends with the worker"):
        judge("the sandbox", GOOD, ended=False, wanted=WANTED, told=WANTED)


@pytest.mark.parametrize(
    ("fault", "layer"),
    [
        ({"processes_started": 7}, "process limit"),
        ({"memory_refused": False}, "memory limit over all processes together"),
    ],
)
def test_limit_that_is_not_enforced_is_told_as_missing(fault: dict[str, object], layer: str) -> None:
    report = judged(altered(GOOD, **fault))
    assert layer in report.missing
    assert layer not in report.layers


@pytest.mark.parametrize(
    ("told", "layer"),
    [({"ui_flags": 0}, "user interface limits"), ({"cpu_rate": 0, "cpu_flags": 0}, "processor limit")],
)
def test_limit_that_does_not_read_back_is_told_as_missing(told: dict[str, int], layer: str) -> None:
    report = judge("the sandbox", GOOD, ended=True, wanted=WANTED, told=replace(WANTED, **told))
    assert layer in report.missing

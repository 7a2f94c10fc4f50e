"""The self-test's judgement: one broken layer is enough, and an unproved one is not counted."""

import msgspec
import pytest

from runner.errors import SandboxUnavailableError
from runner.sandbox.linux.self_test import LimitsReport, ProbeReport, judge
from sandbox_profiles import linux

GOOD = ProbeReport(
    interfaces=("lo",),
    reached_port=False,
    reached_abstract=False,
    sees_canary=False,
    root=frozenset({"usr", "tmp", "proc"}),
    writable_mounts=(),
    capabilities=(0, 0, 0, 0),
    no_new_privileges=True,
    user=1000,
    processes_seen=1,
    seccomp_mode=2,
    ptrace_errno=1,
    user_namespace_errno=1,
    audit_errno=97,
    environment=frozenset({"PATH", "PWD"}),
    descriptors=(0, 1, 2),
    landlock_refuses=True,
    landlock_scope_errnos=(1, 1),
    processes_started=12,
)

LIMITS = LimitsReport(processor_share=0.2, held_back=True, killed_for_memory=True)


def test_all_layers_proved() -> None:
    report = judge("bwrap", GOOD, LIMITS, host_heard=False, processes=12)
    assert report.python_jobs
    assert len(report.layers) == 12
    assert report.missing == ()


@pytest.mark.parametrize(
    ("fault", "layer"),
    [
        ({"interfaces": ("lo", "eth0")}, "no network"),
        ({"reached_port": True}, "no network"),
        ({"reached_abstract": True}, "no network"),
        ({"sees_canary": True}, "no host files"),
        ({"root": frozenset({"usr", "home"})}, "no host files"),
        ({"writable_mounts": ("/dev",)}, "read-only system"),
        ({"capabilities": (0, 0, 1, 0)}, "no privileges"),
        ({"no_new_privileges": False}, "no privileges"),
        ({"user": 0}, "no privileges"),
        ({"user_namespace_errno": 0}, "no privileges"),
        ({"processes_seen": 2}, "own process tree"),
        ({"seccomp_mode": 0}, "seccomp filter"),
        ({"ptrace_errno": 0}, "seccomp filter"),
        ({"audit_errno": 0}, "seccomp filter"),
        ({"environment": frozenset({"SSH_AUTH_SOCK"})}, "clean environment"),
        ({"descriptors": (0, 1, 2, 5)}, "clean environment"),
    ],
)
def test_broken_layer_makes_the_sandbox_unavailable(fault: dict[str, object], layer: str) -> None:
    with pytest.raises(SandboxUnavailableError, match=f"did not enforce: {layer}"):
        judge("bwrap", msgspec.structs.replace(GOOD, **fault), LIMITS, host_heard=False, processes=12)


def test_anything_heard_by_the_host_makes_the_sandbox_unavailable() -> None:
    with pytest.raises(SandboxUnavailableError, match="no network"):
        judge("bwrap", GOOD, LIMITS, host_heard=True, processes=12)


@pytest.mark.parametrize(
    ("fault", "layer"), [({"landlock_refuses": False}, "Landlock"), ({"processes_started": 24}, "process limit")]
)
def test_weaker_sandbox_is_reported_and_takes_no_scripts(fault: dict[str, object], layer: str) -> None:
    report = judge("bwrap", msgspec.structs.replace(GOOD, **fault), LIMITS, host_heard=False, processes=12)
    assert layer in report.missing
    assert layer not in report.layers
    assert not report.python_jobs


@pytest.mark.parametrize(
    ("seen", "limits", "layer"),
    [
        (GOOD, msgspec.structs.replace(LIMITS, killed_for_memory=False), linux.MEMORY_LAYER),
        (GOOD, msgspec.structs.replace(LIMITS, processor_share=0.9), linux.CPU_LAYER),
        (GOOD, msgspec.structs.replace(LIMITS, processor_share=float("inf")), linux.CPU_LAYER),
        (GOOD, msgspec.structs.replace(LIMITS, processor_share=float("nan")), linux.CPU_LAYER),
        (msgspec.structs.replace(GOOD, landlock_scope_errnos=(0, 1)), LIMITS, linux.SCOPE_LAYER),
        (msgspec.structs.replace(GOOD, landlock_scope_errnos=(1, 0)), LIMITS, linux.SCOPE_LAYER),
    ],
)
def test_limit_that_is_covered_elsewhere_is_reported_and_scripts_run(
    seen: ProbeReport, limits: LimitsReport, layer: str
) -> None:
    report = judge("bwrap", seen, limits, host_heard=False, processes=12)
    assert report.missing == (layer,)
    assert report.python_jobs


def test_process_that_a_busy_machine_slowed_down_proves_no_limit() -> None:
    """Its share is as small as with a limit; the kernel says that there was none."""
    slowed = msgspec.structs.replace(LIMITS, processor_share=0.1, held_back=False)
    report = judge("bwrap", GOOD, slowed, host_heard=False, processes=12)
    assert report.missing == (linux.CPU_LAYER,)

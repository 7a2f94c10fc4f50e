"""What the probe saw on a Mac is judged layer by layer; anything short of proved is refused or told."""

import ctypes
import os
import platform

import msgspec
import pytest

from runner.errors import SandboxUnavailableError
from runner.sandbox.macos import self_test as macos_self_test
from runner.sandbox.macos.processes import BsdInfo, LibProc, RusageV0
from runner.sandbox.macos.self_test import MacProbe, judge, table
from sandbox_profiles import macos

GOOD = MacProbe(
    reached_port=False,
    reached_unix=False,
    sent_datagram=False,
    read_canary=False,
    listed_folder=False,
    listed_parent=False,
    written=(),
    user=501,
    programs=(),
    signalled=(),
    services=(),
    environment=macos.ENVIRONMENT_NAMES | {"__CF_USER_TEXT_ENCODING"},
    descriptors=(0, 1, 2),
    core_bytes=0,
    open_files=1024,
    file_bytes=1 << 20,
    broken=(),
)


def test_all_proved_is_all_told() -> None:
    report = judge((GOOD, False))
    assert set(report.layers) == {*macos.REQUIRED_LAYERS, *macos.SCRIPT_LAYERS}
    assert report.missing == macos.NEVER_ENFORCED
    assert report.python_jobs is macos.SCRIPTS
    assert not report.remaps


def test_what_macos_cannot_do_is_told_as_missing() -> None:
    missing = " ".join(judge((GOOD, False)).missing)
    for word in ("process limit", "memory limit", "processor share", "own process tree", "size limit"):
        assert word in missing


@pytest.mark.parametrize(
    ("field", "value", "layer"),
    [
        ("reached_port", True, "no network"),
        ("reached_unix", True, "no network"),
        ("sent_datagram", True, "no network"),
        ("read_canary", True, "no host files"),
        ("listed_folder", True, "no host files"),
        ("listed_parent", True, "no host files"),
        ("written", ("/private/tmp",), "read-only system"),
        ("user", 0, "no privileges"),
        ("programs", ("/bin/sh",), "no foreign programs"),
        ("signalled", (1,), "no foreign processes"),
        ("services", ("com.apple.SecurityServer",), "no system services"),
        ("environment", frozenset({"SECRET"}), "clean environment"),
        ("descriptors", (0, 1, 2, 7), "clean environment"),
        ("descriptors", (0, 1), "clean environment"),
    ],
)
def test_each_required_layer_that_is_not_proved_refuses_everything(field: str, value: object, layer: str) -> None:
    with pytest.raises(SandboxUnavailableError, match=f"did not enforce: {layer}"):
        judge((msgspec.structs.replace(GOOD, **{field: value}), False))


def test_host_that_heard_anything_refuses_everything() -> None:
    with pytest.raises(SandboxUnavailableError, match="did not enforce: no network"):
        judge((GOOD, True))


def test_sandbox_in_which_nothing_works_is_refused() -> None:
    with pytest.raises(SandboxUnavailableError, match="a job cannot work in it: start a process"):
        judge((msgspec.structs.replace(GOOD, broken=("start a process",)), False))


@pytest.mark.parametrize(("field", "value"), [("core_bytes", -1), ("open_files", 9999), ("file_bytes", -1)])
def test_limits_that_are_not_set_refuse_scripts_only(field: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macos, "SCRIPTS", True)
    assert judge((GOOD, False)).python_jobs
    report = judge((msgspec.structs.replace(GOOD, **{field: value}), False))
    assert not report.python_jobs
    assert "resource limits" in report.missing


def test_table_has_one_line_for_each_row() -> None:
    assert table([("a", True, ""), ("longer", False, "why")]) == "ok     a\nWRONG  longer  why"


@pytest.mark.skipif(platform.system() == "Darwin", reason="for every other system")
def test_elsewhere_the_command_says_where_it_belongs(capsys: pytest.CaptureFixture[str]) -> None:
    assert macos_self_test.main() == 2
    assert "run it on a Mac" in capsys.readouterr().err


def test_structures_have_the_sizes_of_the_systems_headers() -> None:
    assert ctypes.sizeof(BsdInfo) == 136
    assert ctypes.sizeof(RusageV0) == 96
    assert (BsdInfo.pgid.offset, BsdInfo.start_seconds.offset, RusageV0.footprint.offset) == (100, 120, 72)


if platform.system() == "Darwin":  # not a skip, which CI does not allow on Linux

    def test_process_table_of_a_mac_knows_this_process() -> None:
        found = {process.pid: process for process in LibProc().processes()}
        assert (found[os.getpid()].parent, found[os.getpid()].group) == (os.getppid(), os.getpgrp())
        assert LibProc().footprint(os.getpid()) > 1 << 20
        assert LibProc().footprint(999_999_999) == 0
else:

    def test_process_table_of_a_mac_is_refused_elsewhere() -> None:
        with pytest.raises(OSError, match="no libproc"):
            LibProc()

"""What a Windows sandbox must hold, tried for real: who is in the job, what is inherited, what ends and when."""

import asyncio
import os
import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path

import msgspec
import psutil
import pytest

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Mount, SandboxSpec
from runner.sandbox.choose import choose_launcher
from runner.sandbox.windows.api import call
from runner.sandbox.windows.command import job_limits
from runner.sandbox.windows.job import Job
from runner.sandbox.windows.launcher import WindowsLauncher, WindowsProcess, remove_stale_folders
from runner.sandbox.windows.self_test import WindowsProbeReport, _with_gpus
from runner.sandbox.windows.token import facts, label_folder, label_of, own_facts, restricted_token
from sandbox_profiles import windows
from tests.conformance.launcher_suite import DEADLINE_S, code, finish
from tests.windows.surroundings import gone, under_wine

WINE = under_wine()
FAMILY = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)'])\n"
    "print(os.getpid(), child.pid, flush=True)\n"
)
"""A process with a child that would live on by itself; says both process numbers."""


async def family(launcher: WindowsLauncher, then: str) -> tuple[WindowsProcess, list[int]]:
    process = await launcher.launch(SandboxSpec(arguments=code(FAMILY + then)))
    async with asyncio.timeout(DEADLINE_S):
        return process, [int(word) for word in (await process.stdout.readline()).split()]


async def test_nothing_survives_kill_of_the_worker() -> None:
    """The worker is killed from outside, so that none of its own code can tidy up."""
    worker = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("doomed_worker.py")), str(Path(__file__).parents[2])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    with worker.stdout as said:
        pids = [int(word) for word in said.readline().split()]
    assert len(pids) == 2
    assert all(psutil.pid_exists(pid) for pid in pids)
    worker.kill()
    worker.wait()
    assert [gone(pid, 1.0) for pid in pids] == [True, True]


async def test_closing_the_last_handle_of_the_job_ends_all_of_it(launcher: WindowsLauncher) -> None:
    process, pids = await family(launcher, "time.sleep(60)")
    async with asyncio.timeout(DEADLINE_S):
        process.job.close()
        await process.wait()
    assert [gone(pid, 1.0) for pid in pids] == [True, True]


async def test_kill_ends_children_too(launcher: WindowsLauncher) -> None:
    process, pids = await family(launcher, "time.sleep(60)")
    async with asyncio.timeout(DEADLINE_S):
        assert process.job.active() == 2
        process.kill()
        assert await process.wait() == -9
    assert [gone(pid, 1.0) for pid in pids] == [True, True]


async def test_children_end_with_the_first_process(launcher: WindowsLauncher) -> None:
    process, pids = await family(launcher, "os._exit(3)")
    assert [await asyncio.to_thread(gone, pid, 1.0) for pid in pids] == [True, True]
    assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 3


async def test_kill_for_memory_says_why(launcher: WindowsLauncher) -> None:
    process = await launcher.launch(SandboxSpec(arguments=code("import time; time.sleep(60)")))
    process.kill_for_memory("It held 5 GiB of 4 GiB.")
    process.kill_for_memory("Another look.")
    assert await asyncio.wait_for(process.wait(), DEADLINE_S) == -9
    assert process.over_memory == "It held 5 GiB of 4 GiB."


# --- what the probe sees from inside ---


@pytest.fixture
async def seen(launcher: WindowsLauncher, tmp_path: Path) -> WindowsProbeReport:
    bait = Job(job_limits(SandboxSpec(arguments=()), 1))
    call("SetHandleInformation", bait.handle, 1, 1)
    arguments = ("runner.sandbox.windows.probe", str(tmp_path), str(bait.handle), "6", str(256 << 20))
    process = await launcher.launch(SandboxSpec(arguments=arguments, processes=6, memory_bytes=256 << 20))
    async with asyncio.timeout(DEADLINE_S):
        line = await process.stdout.readline()
        process.stdin.close()
        assert await process.wait() == 0, (await process.stderr.read()).decode()
    bait.close()
    return msgspec.json.decode(line, type=WindowsProbeReport)


async def test_stranger_inside_has_no_handle_no_variable_no_privilege_and_no_way_out(seen: WindowsProbeReport) -> None:
    """One process, because each costs a second under Wine."""
    assert not seen.inherited
    assert not seen.left_job
    assert seen.privileges == {"SeChangeNotifyPrivilege"}
    assert "S-1-5-32-544" not in seen.groups
    outside = {name.upper() for name in seen.environment} - windows.ENVIRONMENT_NAMES
    assert {name for name in outside if not (WINE and name.startswith("WINE"))} == set()
    if not WINE:
        assert seen.integrity == windows.INTEGRITY_LEVEL
        assert not seen.wrote
        assert seen.processes_started == 6
        assert seen.memory_refused


async def test_file_open_in_the_worker_is_not_inherited(launcher: WindowsLauncher, tmp_path: Path) -> None:
    if sys.platform == "win32":  # for mypy
        import msvcrt

        with (tmp_path / "secret").open("wb") as file:
            handle = msvcrt.get_osfhandle(file.fileno())
            os.set_handle_inheritable(handle, True)
            write = (
                "import msvcrt, os\n"
                f"try: os.write(msvcrt.open_osfhandle({handle}, os.O_WRONLY), b'reached')\n"
                "except OSError: pass"
            )
            await finish(await launcher.launch(SandboxSpec(arguments=code(write))))
        assert (tmp_path / "secret").read_bytes() == b""


async def test_variables_of_the_worker_stay_outside(launcher: WindowsLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOGRID_SECRET", "for the worker only")
    look = "import os; print('GOGRID_SECRET' in os.environ, os.environ['USERPROFILE'] == os.getcwd())"
    _, output, _ = await finish(await launcher.launch(SandboxSpec(arguments=code(look))))
    assert output.split()[:2] == [b"False", b"True"]


# --- job and token, as Windows tells them ---


async def test_process_is_in_its_job_before_it_runs(launcher: WindowsLauncher) -> None:
    process = await launcher.launch(SandboxSpec(arguments=code("input()")))
    assert process.job.active() == 1
    process.kill()
    await process.wait()


def test_limits_are_accepted_and_read_back() -> None:
    spec = SandboxSpec(arguments=(), memory_bytes=1 << 30, cpu_seconds=60, processes=12, threads=1)
    wanted = job_limits(spec, 4)
    job = Job(wanted)
    told = job.read_back()
    job.close()
    if WINE:  # accepts every limit but the processor rate; Wine 8 tells none of them back
        pairs = zip(astuple(wanted), astuple(told), strict=True)
        assert all(number in (0, asked) for asked, number in pairs)
    else:
        assert told == wanted


def test_refused_limit_is_an_error() -> None:
    limits = job_limits(SandboxSpec(arguments=()), 1)
    with pytest.raises(OSError, match="SetInformationJobObject fails"):
        Job(replace(limits, flags=0xFFFF_FFFF))


def test_token_has_lost_privileges_and_administrators() -> None:
    own = own_facts()
    with restricted_token() as token:
        less = facts(token)
    assert less.user == own.user
    assert less.privileges == windows.KEPT_PRIVILEGES
    assert less.groups == {group for group in own.groups if not windows.is_denied(group)}
    if WINE:  # which runs everybody as an administrator, and takes every integrity level without keeping it
        assert "S-1-5-32-544" in own.groups
    else:
        assert less.integrity == windows.INTEGRITY_LEVEL


# --- folders ---


async def test_writable_folder_is_closed_again_afterwards(launcher: WindowsLauncher, tmp_path: Path) -> None:
    work = Mount(tmp_path, "/work")
    place = work.seen(launcher.report)
    make = f"import os; os.mkdir('{place}/d'); open('{place}/d/x', 'w').close(); input()"
    process = await launcher.launch(SandboxSpec(arguments=code(make), writable=work))
    during = label_of(tmp_path)
    assert (await finish(process, b"\n"))[0] == 0
    after = {label_of(path) for path in (tmp_path, tmp_path / "d", tmp_path / "d/x")}
    if not WINE:  # which takes labels and keeps none
        assert ";;;LW)" in during
        assert all(";;;ME)" in label for label in after)


def test_label_that_cannot_be_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"CreateFileW of .*absent fails"):
        label_folder(tmp_path / "absent", windows.WRITABLE_LABEL)
    with pytest.raises(OSError, match="fails"):
        label_folder(tmp_path, "no label")


def test_folders_of_a_killed_worker_are_removed_and_others_kept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL)
    ended.wait()
    stale, living, foreign = (tmp_path / f"gogrid-sandbox-{of}-1" for of in (ended.pid, os.getpid(), "x"))
    for folder in (stale, living, foreign):
        folder.mkdir()
    (stale / "data").write_text("of a job")
    remove_stale_folders(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([living, foreign])


# --- the whole ---


async def test_choosing_fails_closed_where_integrity_is_not_enforced() -> None:
    """Wine lets everybody write, so it is refused; on Windows everything that is required must be proved."""
    if WINE:
        with pytest.raises(SandboxUnavailableError, match="did not enforce: no writing to the owner's files"):
            await choose_launcher()
        return
    report = (await choose_launcher()).report
    assert set(windows.REQUIRED_LAYERS) <= set(report.layers)
    assert set(windows.NEVER_ENFORCED) <= set(report.missing)
    assert not report.python_jobs
    assert not report.remaps


async def test_gpu_that_did_not_work_inside_is_neither_reported_nor_granted(launcher: WindowsLauncher) -> None:
    """No test machine has two such GPUs, so the driver, where there is one, cannot show them."""
    asked = ("GPU-absent-1", "GPU-absent-2")
    proved = await _with_gpus(launcher, launcher.report, asked)
    assert proved.report.gpus == ()
    assert [layer for layer in proved.report.missing if layer.startswith("GPU (")]
    with pytest.raises(SandboxUnavailableError, match="GPU-absent-1"):
        await proved.launch(SandboxSpec(arguments=("this",), gpus=asked))

"""Prove each layer of the Windows sandbox on this machine, from inside a real one, before any job may use it.

`judge` is pure: what the probe saw and what Windows reads back, against what the policy wants. A layer is counted only
if its own attack was tried and failed, or, where nothing inside can try it, if Windows tells the same numbers back.
"""

import asyncio
import contextlib
import os
import platform
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Launcher, SandboxReport, SandboxSpec
from runner.sandbox.interpreter import Interpreter, running_interpreter
from runner.sandbox.probing import run_probe
from runner.sandbox.windows.api import call
from runner.sandbox.windows.command import JobLimits, job_limits, windows_home
from runner.sandbox.windows.job import Job
from runner.sandbox.windows.launcher import WindowsLauncher, WindowsProcess, remove_stale_folders
from sandbox_profiles import windows

_PROBE_PROCESSES = 6
_PROBE_MEMORY = 256 << 20
_TIMEOUT_S = 30.0
_END_S = 2.0
_INHERIT = 0x1
_UNTESTED = SandboxReport(name="", layers=(), missing=(), python_jobs=False, remaps=False)


class WindowsProbeReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `runner.sandbox.windows.probe` prints."""

    privileges: frozenset[str]
    groups: frozenset[str]
    integrity: int
    wrote: bool
    inherited: bool
    left_job: bool
    environment: frozenset[str]
    processes_started: int
    memory_refused: bool


async def choose_windows(python: Interpreter | None = None, gpus: tuple[str, ...] = ()) -> Launcher:
    """The sandbox of this machine, self-tested.

    Windows may refuse a job with user interface limits to a worker that is in a job itself. Those limits are not among
    the required layers: there they are left out, and the report says that they are missing.

    Args:
        python: what runs inside; None: the running interpreter and its packages.
        gpus: UUIDs of the GPUs that jobs are to get; `report.gpus` says whether they work inside.

    Raises:
        SandboxUnavailableError: it does not enforce what it must.
    """
    await asyncio.to_thread(remove_stale_folders, Path(tempfile.gettempdir()))
    home, name = windows_home(python or running_interpreter()), f"Job Object (Windows {platform.version()})"
    launcher = WindowsLauncher(home, _UNTESTED)
    if not await _starts(launcher):
        launcher = WindowsLauncher(home, _UNTESTED, ui_limits=windows.UiLimit(0))
    return await _with_gpus(launcher, await self_test(launcher, name), gpus)


def judge(name: str, seen: WindowsProbeReport, *, ended: bool, wanted: JobLimits, told: JobLimits) -> SandboxReport:
    """Which layers are proved.

    Args:
        ended: whether the probe ended when the last handle of its job was closed.
        wanted, told: the limits of its job, and what Windows says they are.

    Raises:
        SandboxUnavailableError: a layer without which nothing may run is not proved; names all of them.
    """
    proved = {
        "ends with the worker": ended,
        "no way out of the job": not seen.left_job,
        "restricted token": seen.privileges <= windows.KEPT_PRIVILEGES
        and not any(windows.is_denied(group) for group in seen.groups),
        "no writing to the owner's files": not seen.wrote and seen.integrity <= windows.INTEGRITY_LEVEL,
        "no inherited handles": not seen.inherited,
        "clean environment": {variable.upper() for variable in seen.environment} <= windows.ENVIRONMENT_NAMES,
        "process limit": seen.processes_started <= wanted.processes,
        "memory limit over all processes together": seen.memory_refused,
        "processor limit": (told.cpu_flags, told.cpu_rate) == (wanted.cpu_flags, wanted.cpu_rate),
        "user interface limits": told.ui_flags == wanted.ui_flags,
    }
    broken = [layer for layer in windows.REQUIRED_LAYERS if not proved[layer]]
    if broken:
        raise SandboxUnavailableError(f"{name} started a process, but did not enforce: {', '.join(broken)}.")
    return SandboxReport(
        name=name,
        layers=tuple(layer for layer, holds in proved.items() if holds),
        missing=(*(layer for layer, holds in proved.items() if not holds), *windows.NEVER_ENFORCED),
        python_jobs=False,
        remaps=False,
    )


async def self_test(launcher: WindowsLauncher, name: str) -> SandboxReport:
    """Run the probe in a real sandbox and judge it.

    Raises:
        SandboxUnavailableError: no sandbox starts here, or one starts and does not enforce enough.
    """
    with contextlib.ExitStack() as stack:
        canary = stack.enter_context(tempfile.TemporaryDirectory(prefix="gogrid-self-test-"))
        bait = _inheritable_job()
        stack.callback(bait.close)
        spec = SandboxSpec(
            arguments=(
                "runner.sandbox.windows.probe",
                *(canary, str(bait.handle), str(_PROBE_PROCESSES), str(_PROBE_MEMORY)),
            ),
            memory_bytes=_PROBE_MEMORY,
            processes=_PROBE_PROCESSES,
        )
        process = await launcher.launch(spec)
        try:
            seen = await _report(process, name)
            told = process.job.read_back()
            process.job.close()
            ended = await _ends(process)
        finally:
            process.kill()
            process.stdin.close()
            await process.wait()
    return judge(name, seen, ended=ended, wanted=job_limits(spec, os.cpu_count() or 1), told=told)


def _inheritable_job() -> Job:
    """A handle that every careless start of a process would pass on."""
    bait = Job(job_limits(SandboxSpec(arguments=()), 1))
    call("SetHandleInformation", bait.handle, _INHERIT, _INHERIT)
    return bait


async def _report(process: WindowsProcess, name: str) -> WindowsProbeReport:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            line = await process.stdout.readline()
            complaint = b"" if line else await process.stderr.read()
    except (TimeoutError, ValueError):
        raise SandboxUnavailableError(f"{name} did not finish its self-test in {_TIMEOUT_S:.0f} s.") from None
    try:
        return msgspec.json.decode(line, type=WindowsProbeReport)
    except msgspec.DecodeError as error:
        words = complaint.decode(errors="replace").strip().splitlines() or [str(error)]
        raise SandboxUnavailableError(f"{name} gave no readable self-test report: {words[-1][:300]}") from error


async def _ends(process: WindowsProcess) -> bool:
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        return False
    return True


async def _starts(launcher: WindowsLauncher) -> bool:
    """Whether Windows starts a process in such a sandbox at all."""
    try:
        process = await launcher.launch(SandboxSpec(arguments=("this",)))
    except SandboxUnavailableError:
        return False
    process.kill()
    await process.wait()
    return True


async def _with_gpus(launcher: WindowsLauncher, report: SandboxReport, gpus: tuple[str, ...]) -> WindowsLauncher:
    """The launcher, with the GPUs if the driver starts inside and sees every one of them."""
    if not gpus:
        return launcher.proved(report)
    granted = launcher.proved(replace(report, gpus=gpus))
    try:
        printed = await run_probe(granted, SandboxSpec(arguments=("runner.sandbox.gpu_probe",), gpus=gpus), report.name)
        code, count = msgspec.json.decode(printed, type=tuple[int, int])
    except (SandboxUnavailableError, msgspec.DecodeError) as error:
        return launcher.proved(replace(report, missing=(*report.missing, f"GPU ({error})")))
    if code == 0 and count == len(gpus):
        return granted
    answer = f"the driver answers {code} and shows {count} of {len(gpus)} GPUs"
    return launcher.proved(replace(report, missing=(*report.missing, f"GPU ({answer})")))


def main() -> int:
    """Print what this machine's sandbox enforces. 0: it may be used; 1: it may not; 2: this is no Windows."""
    if platform.system() != "Windows":
        print("This is the self-test of the Windows sandbox; run it on Windows.", file=sys.stderr)
        return 2
    try:
        report = asyncio.run(choose_windows()).report
    except SandboxUnavailableError as error:
        print(f"WRONG  {error}")
        return 1
    print("\n".join(f"ok     {layer}" for layer in report.layers))
    print("\n".join(f"not enforced: {layer}" for layer in report.missing))
    print(f"Python jobs: {'yes' if report.python_jobs else 'no'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

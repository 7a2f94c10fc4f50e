"""What one Windows sandbox is started with: a pure function of policy, Python and `SandboxSpec`. Runs on any system."""

import math
import subprocess
from dataclasses import dataclass
from pathlib import PurePath

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import SandboxSpec
from runner.sandbox.interpreter import Interpreter
from sandbox_profiles import windows

_LONGEST_COMMAND = 32_766
_TICKS_PER_S = 10_000_000
_WHOLE_MACHINE = 10_000


@dataclass(frozen=True, slots=True)
class WindowsHome:
    """Which Python runs inside. Nothing is mounted: it is used where it lies, and cannot be written there."""

    executable: str
    bootstrap: str
    """Where `windows/inside.py` lies."""
    import_path: tuple[str, ...]
    """Folders to import from, besides the standard library and GoGrid's own."""


@dataclass(frozen=True, slots=True)
class JobLimits:
    """What the Job Object of one sandbox is told, in the units of Windows."""

    flags: int
    ui_flags: int
    processes: int
    memory_bytes: int
    """Of each process and of all together; 0: no such flag."""
    time_ticks: int
    """Processor time of all together, 100 ns each; 0: no such flag."""
    cpu_flags: int
    cpu_rate: int
    """Of the whole machine's processors, in 1/10,000."""


def windows_home(python: Interpreter) -> WindowsHome:
    runner = next(source for source in python.sources if source.name == "runner")
    return WindowsHome(
        executable=str(python.executable),
        bootstrap=str(runner / "sandbox" / "windows" / f"inside{python.suffix}"),
        import_path=tuple(
            str(folder) for folder in dict.fromkeys(python.path) if folder.name in ("site-packages", "dist-packages")
        ),
    )


def command_line(home: WindowsHome, spec: SandboxSpec) -> str:
    """Raises `SandboxUnavailableError` if Windows could not take it."""
    words = [home.executable, "-I", "-S", "-B", "-X", "utf8", home.bootstrap, *spec.arguments]
    line = subprocess.list2cmdline(words)
    if len(line) > _LONGEST_COMMAND or "\0" in line:
        raise SandboxUnavailableError(
            f"The command of this sandbox has {len(line)} characters; Windows takes {_LONGEST_COMMAND}, without zeros."
        )
    return line


def environment(home: WindowsHome, spec: SandboxSpec, folder: PurePath, system_root: str) -> dict[str, str]:
    """All variables of the process; nothing of this process's own environment is among them.

    Args:
        folder: the sandbox's own, writable.
        system_root: the folder of Windows, `C:\\Windows`.
    """
    variables = dict(windows.ENVIRONMENT)
    variables |= dict.fromkeys(windows.SYSTEM_VARIABLES, system_root)
    variables |= {"SystemDrive": system_root[:2], "PATH": f"{system_root}\\System32;{system_root}"}
    variables |= dict.fromkeys(windows.HOME_VARIABLES, str(folder))
    variables |= dict.fromkeys(windows.THREAD_VARIABLES, str(spec.threads))
    if home.import_path:
        variables["PYTHONPATH"] = ";".join(home.import_path)
    variables["CUDA_VISIBLE_DEVICES"] = ",".join(spec.gpus) if spec.gpus else windows.NO_GPU
    if spec.gpus:
        variables |= {**dict(windows.GPU_ENVIRONMENT), "CUDA_CACHE_PATH": str(folder / "cuda")}
    return variables


def environment_block(variables: dict[str, str]) -> str:
    """As `CreateProcess` takes it: sorted, each ended by a zero, one more at the end."""
    lines = (f"{name}={variables[name]}\0" for name in sorted(variables, key=str.upper))
    return "".join(lines) + "\0"


def job_limits(spec: SandboxSpec, processors: int, ui_limits: windows.UiLimit = windows.UI_LIMITS) -> JobLimits:
    """The numbers of this sandbox's Job Object on a machine with `processors` logical processors."""
    flags = windows.JOB_LIMITS
    if spec.memory_bytes is not None:
        flags |= windows.JobLimit.PROCESS_MEMORY | windows.JobLimit.JOB_MEMORY
    if spec.cpu_seconds is not None:
        flags |= windows.JobLimit.JOB_TIME
    cores = spec.cpu_cores or spec.threads
    return JobLimits(
        flags=int(flags),
        ui_flags=int(ui_limits),
        processes=max(1, min(spec.processes, windows.PROCESSES)),
        memory_bytes=spec.memory_bytes or 0,
        time_ticks=(spec.cpu_seconds or 0) * _TICKS_PER_S,
        cpu_flags=int(windows.CPU_RATE),
        cpu_rate=max(1, min(_WHOLE_MACHINE, math.ceil(_WHOLE_MACHINE * cores / max(1, processors)))),
    )


def exit_status(code: int) -> int:
    """The status of `SandboxedProcess.wait` for an exit code of Windows."""
    if code in windows.SIGNALS:
        return -windows.SIGNALS[code]
    return -windows.OTHER_FATAL if code in windows.FATAL else code

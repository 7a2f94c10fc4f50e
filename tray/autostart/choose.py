"""The way this machine starts programs at login, and with which words it starts this one."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gogrid.places import CONFIG_VARIABLE, DATA_VARIABLE, WorkerPlaces
from tray.autostart.base import Autostart, NoAutostart
from tray.autostart.linux import LinuxAutostart
from tray.autostart.macos import MacAutostart
from tray.autostart.windows import WindowsAutostart

_PATIENCE_S = 3.0


def autostart(places: WorkerPlaces, named: Sequence[str] = (), launcher: Path | None = None) -> Autostart:
    """Of this machine.

    Args:
        named: `--config` and `--data` as the owner gave them, for the entry to repeat.
        launcher: the installer's copy, where another one runs: that goes with the next update, this one stays.
    """
    program = start_command(str(launcher or sys.executable), os.environ, frozen=bool(getattr(sys, "frozen", False)))
    words = (*program, *(named or named_by(os.environ)))
    system: str = sys.platform
    if system == "linux":
        return LinuxAutostart(words, os.environ, Path.home(), _run)
    if system == "darwin":
        return MacAutostart(words, Path.home(), places.logs, os.getuid(), _run)
    if system == "win32":
        return _windows(words)
    return NoAutostart(system)


def _windows(words: Sequence[str]) -> Autostart:
    if sys.platform == "win32":
        from tray.autostart.registry import RealRegistry

        return WindowsAutostart(words, RealRegistry())
    return NoAutostart(sys.platform)


def start_command(executable: str, environment: Mapping[str, str], *, frozen: bool) -> tuple[str, ...]:
    """What starts this program anew, now and after an update; on Windows without a console window."""
    path = Path(executable)
    if frozen:
        without_console = path.with_name("gogrid-app.exe")
        own = str(without_console) if path.suffix == ".exe" and without_console.exists() else executable
        return (environment.get("APPIMAGE") or own,)
    windowless = path.with_name("pythonw.exe")
    if path.name.lower() == "python.exe" and windowless.exists():
        path = windowless
    return (str(path), "-P", "-m", "tray.cli")


def named_by(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The same places by flags: variables of a terminal are not there at login."""
    flags = (("--config", CONFIG_VARIABLE), ("--data", DATA_VARIABLE))
    given = ((flag, environment.get(variable)) for flag, variable in flags)
    return tuple(word for flag, value in given if value for word in (flag, str(Path(value).expanduser().absolute())))


def _run(words: Sequence[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""

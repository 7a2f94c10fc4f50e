"""macOS: a LaunchAgent of the user. Taken up at the next login; what runs now is left alone."""

import plistlib
import re
from collections.abc import Sequence
from pathlib import Path

from tray.autostart.base import AutostartError, Run

LABEL = "org.gogrid.worker"


def launch_agent(program: Sequence[str], logs: Path) -> bytes:
    """The text of the property list. Not kept alive: somebody who quits the worker wants it to stay so."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(program),
            "RunAtLoad": True,
            "KeepAlive": False,
            "LimitLoadToSessionType": "Aqua",
            "ProcessType": "Interactive",
            "StandardErrorPath": str(logs / "launchd.log"),
        }
    )


def is_disabled(print_disabled: str) -> bool:
    """From `launchctl print-disabled`: whether the owner has switched it off under Login Items."""
    found = re.search(rf'"{re.escape(LABEL)}"\s*=>\s*(\w+)', print_disabled)
    return found is not None and found[1] in ("disabled", "true")


class MacAutostart:
    """Implements `Autostart`."""

    def __init__(self, program: Sequence[str], home: Path, logs: Path, user: int, run: Run) -> None:
        self._program, self._logs, self._domain, self._run = program, logs, f"gui/{user}", run
        self._file = home / "Library" / "LaunchAgents" / f"{LABEL}.plist"

    def state(self) -> bool | str:
        return self._file.exists() and not is_disabled(self._run(("launchctl", "print-disabled", self._domain)))

    def set(self, *, on: bool) -> None:
        try:
            self._file.unlink(missing_ok=True)
            if on:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.write_bytes(launch_agent(self._program, self._logs))
        except OSError as error:
            where = error.filename or self._file
            raise AutostartError(f"Start at login cannot be changed: {where}: {error.strerror or error}.") from error
        if on:
            self._run(("launchctl", "enable", f"{self._domain}/{LABEL}"))

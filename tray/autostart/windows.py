"""Windows: a value of the user's own Run key. What the Task Manager has disabled counts as off.

The registry is given, so that the rules can be tried on any system.
"""

import subprocess
from collections.abc import Sequence
from typing import Protocol

from tray.autostart.base import AutostartError

NAME = "GoGrid Worker"
RUN = r"Software\Microsoft\Windows\CurrentVersion\Run"
APPROVED = r"Software\Microsoft\Windows\CurrentVersion\Explorer\StartupApproved\Run"
"""Where the Task Manager keeps its own switch: 12 bytes, the first of them odd where it is off."""


class UserRegistry(Protocol):
    """Of HKEY_CURRENT_USER; every method may raise `OSError`."""

    def read(self, key: str, name: str) -> str | bytes | None:
        """None: there is no such value."""

    def write(self, key: str, name: str, value: str) -> None: ...

    def delete(self, key: str, name: str) -> None:
        """Fine if it is not there."""


def command_line(program: Sequence[str]) -> str:
    """Quoted as Windows programs take it apart."""
    return subprocess.list2cmdline(program)


class WindowsAutostart:
    """Implements `Autostart`."""

    def __init__(self, program: Sequence[str], registry: UserRegistry) -> None:
        self._program, self._registry = program, registry

    def state(self) -> bool | str:
        try:
            if self._registry.read(RUN, NAME) is None:
                return False
            approved = self._registry.read(APPROVED, NAME)
        except OSError as error:
            return f"The registry does not say whether it starts at login: {error.strerror or error}."
        return not (isinstance(approved, bytes) and approved[:1] and approved[0] & 1)

    def set(self, *, on: bool) -> None:
        try:
            self._registry.delete(APPROVED, NAME)
            if on:
                self._registry.write(RUN, NAME, command_line(self._program))
            else:
                self._registry.delete(RUN, NAME)
        except OSError as error:
            raise AutostartError(f"Start at login cannot be changed: {error.strerror or error}.") from error

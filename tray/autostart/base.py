"""The seam between the switch "Start at login" and what each platform keeps for it.

What is shown is what the system will really do: an entry that the owner has removed or disabled in the system's own
settings counts as off, and stays off until the owner says otherwise.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from gogrid.errors import GoGridError

Run = Callable[[Sequence[str]], str]
"""Runs a program of the system and returns what it prints; empty where it is missing or fails."""


class AutostartError(GoGridError):
    """This machine cannot start the worker at login, or its entry cannot be changed; says why."""


class Autostart(Protocol):
    def state(self) -> bool | str:
        """Whether it starts at login; a sentence: why this machine cannot do that."""

    def set(self, *, on: bool) -> None:
        """Raises `AutostartError`. Only for what the owner has clicked or typed."""


class NoAutostart:
    """A system for which GoGrid knows no way."""

    def __init__(self, platform: str) -> None:
        self._reason = f"GoGrid does not know how {platform} starts programs at login."

    def state(self) -> bool | str:
        return self._reason

    def set(self, *, on: bool) -> None:
        if on:
            raise AutostartError(self._reason)

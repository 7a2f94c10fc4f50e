"""What the eyes of the gates have in common: two errors, and what a desktop must be able to say."""

from typing import Protocol

from runner.errors import RunnerError


class LostError(RunnerError):
    """What was looked at is not there (any more): the desktop session has ended, or has no such service."""


class NoAnswerError(RunnerError):
    """It is there and does not answer."""


class Desktop(Protocol):
    """One desktop session. Every call may block for up to a second and raise `LostError` or `NoAnswerError`."""

    @property
    def name(self) -> str:
        """In words: `X11 display :0`."""

    def idle_s(self) -> float:
        """Seconds since the last input."""

    def close(self) -> None:
        """Safe at any time."""


class Screen(Protocol):
    """What is on the screen; None: this desktop does not say. Blocks and raises as `Desktop` does."""

    def fullscreen(self) -> bool | None: ...

    def kept_on(self) -> bool | None:
        """Whether a program keeps it from going dark."""

    def close(self) -> None: ...

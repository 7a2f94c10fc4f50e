"""An X11 session: time since the last input, by the MIT-SCREEN-SAVER extension, and whether a window fills the screen.

Promises: an X server that goes away is an error of this module, never the end of the process (as with Xlib in C).
"""

from collections.abc import Callable
from typing import TypeVar

from Xlib import X, display, error
from Xlib.ext import screensaver

from runner.gates.probes.base import LostError

T = TypeVar("T")
_LOST = (error.DisplayError, error.ConnectionClosedError, error.XError, error.XauthError, OSError)


class X11:
    """Implements `Desktop` and `Screen`."""

    def __init__(self, name: str) -> None:
        """Raises `LostError` if it cannot be reached, or has no such extension.

        Args:
            name: of the display, as in DISPLAY.
        """
        self.name = f"X11 display {name}"
        try:
            self._display = display.Display(name)
        except _LOST as problem:
            raise LostError(f"{self.name} cannot be reached ({problem}).") from problem
        if not self._display.has_extension("MIT-SCREEN-SAVER"):
            self.close()
            raise LostError(f"{self.name} does not tell when it was used last (no MIT-SCREEN-SAVER extension).")
        self._root = self._display.screen().root
        self._active = self._asked(lambda: self._display.intern_atom("_NET_ACTIVE_WINDOW"))
        self._state = self._asked(lambda: self._display.intern_atom("_NET_WM_STATE"))
        self._full = self._asked(lambda: self._display.intern_atom("_NET_WM_STATE_FULLSCREEN"))

    def idle_s(self) -> float:
        idle_ms: int = self._asked(lambda: screensaver.query_info(self._root).idle)
        return idle_ms / 1000

    def fullscreen(self) -> bool | None:
        """Of the window in front; None without a window manager that tells which one that is."""
        active = self._asked(lambda: self._root.get_full_property(self._active, X.AnyPropertyType))
        if active is None or not len(active.value):
            return None
        try:
            window = self._display.create_resource_object("window", active.value[0])
            state = window.get_full_property(self._state, X.AnyPropertyType)
        except error.XError:
            return False  # it was closed just now
        except _LOST as problem:
            raise LostError(f"{self.name} is gone.") from problem
        return state is not None and self._full in state.value

    def kept_on(self) -> bool | None:
        return None

    def close(self) -> None:
        try:
            self._display.close()
        except _LOST:
            self._display.display.socket.close()  # it was gone already, and its library leaves this to others

    def _asked(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except _LOST as problem:
            raise LostError(f"{self.name} is gone.") from problem

"""Gamepads and joysticks on Linux: whether one was used, which no idle time of a desktop knows.

Looks at those of `/dev/input` that this user may read (desktops grant that to whoever sits at the screen). A button
counts, and a stick or pedal that moves by more than an eighth of its way: a worn stick trembles on its own.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path

_EVENT = struct.Struct("=IhBB")
"""Of the joystick interface: milliseconds, value, type, number."""
_BUTTON, _AXIS, _INITIAL = 1, 2, 0x80
_NOTICEABLE = 65536 // 8
_LOOK_FOR_NEW_S = 5.0
_AT_ONCE = 64


class Gamepads:
    def __init__(self, clock: Callable[[], float], folder: Path = Path("/dev/input")) -> None:
        """`clock`: monotonic seconds."""
        self._clock, self._folder = clock, folder
        self._open: dict[Path, int] = {}
        self._axes: dict[tuple[Path, int], int] = {}
        """Where each axis was when it was last noticed."""
        self._looked_for = float("-inf")
        self._used_at: float | None = None

    def idle_s(self) -> float | None:
        """Seconds since one was used; None: none has been since this began to look."""
        now = self._clock()
        if now - self._looked_for >= _LOOK_FOR_NEW_S:
            self._looked_for = now
            self._find()
        if any([self._used(path) for path in tuple(self._open)]):  # every one is read, or its events grow old
            self._used_at = now
        return None if self._used_at is None else now - self._used_at

    def close(self) -> None:
        for path in tuple(self._open):
            self._forget(path)

    def _find(self) -> None:
        for path in self._folder.glob("js*"):
            if path not in self._open:
                try:
                    self._open[path] = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                except OSError:
                    continue  # not this user's to read, or gone already

    def _used(self, path: Path) -> bool:
        used = False
        while True:
            try:
                data = os.read(self._open[path], _EVENT.size * _AT_ONCE)
            except BlockingIOError:
                return used
            except OSError:
                data = b""
            if not data:
                self._forget(path)
                return used
            for _, value, kind, number in _EVENT.iter_unpack(data[: len(data) // _EVENT.size * _EVENT.size]):
                used = self._counts(path, kind, number, value) or used

    def _counts(self, path: Path, kind: int, number: int, value: int) -> bool:
        if kind & ~_INITIAL == _AXIS:
            before = self._axes.get((path, number))
            if before is not None and not kind & _INITIAL and abs(value - before) < _NOTICEABLE:
                return False
            self._axes[path, number] = value
            return before is not None and not kind & _INITIAL
        return kind == _BUTTON

    def _forget(self, path: Path) -> None:
        os.close(self._open.pop(path))
        self._axes = {key: value for key, value in self._axes.items() if key[0] != path}

"""An X display that nobody sits at until the benchmark does, with input through the server's own test extension."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.peers import PeerMissingError


class Seat:
    """Whoever sits at the display."""

    def __init__(self, name: str) -> None:
        from Xlib import X, display
        from Xlib.ext import xtest

        self.name = name
        """As in DISPLAY."""
        self._display, self._motion, self._fake = display.Display(name), X.MotionNotify, xtest.fake_input
        self._at = 0

    def move(self) -> None:
        """Move the mouse a little; returns when the server has taken it."""
        self._at = (self._at + 7) % 600
        self._fake(self._display, self._motion, x=self._at, y=self._at % 400)
        self._display.sync()

    def close(self) -> None:
        self._display.close()


@contextmanager
def display() -> Iterator[Seat]:
    """Raises `PeerMissingError` where there is no virtual X server."""
    program = shutil.which("Xvfb")
    if program is None:
        raise PeerMissingError("Xvfb is missing: packaging/desktop_tests/prepare")
    read_end, write_end = os.pipe()
    command = [program, "-displayfd", str(write_end), "-screen", "0", "640x480x24", "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(command, pass_fds=(write_end,), stderr=subprocess.DEVNULL) as process:
        try:
            os.close(write_end)
            with os.fdopen(read_end) as told:
                seat = Seat(f":{told.readline().strip()}")
            try:
                yield seat
            finally:
                seat.close()
        finally:
            process.terminate()

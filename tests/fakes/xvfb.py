"""A display of a test's own, with nobody at it until the test says so."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Display:
    name: str
    """As in DISPLAY."""
    process: "subprocess.Popen[bytes]"

    def touch(self, x: int = 10, y: int = 10) -> None:
        """Move the mouse, through the server's own test input."""
        self.tool("mousemove", str(x), str(y))

    def tool(self, *words: str) -> None:
        program = shutil.which("xdotool")
        assert program is not None
        subprocess.run([program, *words], env={**os.environ, "DISPLAY": self.name}, check=True)


@contextmanager
def display() -> Iterator[Display]:
    program = shutil.which("Xvfb")
    assert program is not None
    read_end, write_end = os.pipe()
    command = [program, "-displayfd", str(write_end), "-screen", "0", "640x480x24", "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(command, pass_fds=(write_end,), stderr=subprocess.DEVNULL) as process:
        os.close(write_end)
        with os.fdopen(read_end) as told:
            number = told.readline().strip()
        try:
            yield Display(f":{number}", process)
        finally:
            process.terminate()

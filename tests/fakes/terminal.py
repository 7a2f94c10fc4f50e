"""`gogrid` in a real pseudo-terminal, with a person who types and presses Ctrl-C."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import psutil

_PATIENCE_S = 15.0


class Terminal:
    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        import pty

        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gogrid.client.cli", *argv],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "dumb", **environment},
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = b""
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def type(self, text: str) -> None:
        """`\\udcff` types the byte 0xff."""
        os.write(self._ours, text.encode(errors="surrogateescape"))

    def interrupt(self) -> None:
        """Ctrl-C, once the program has fallen asleep: a signal between readline's prompt and its wait is seen late."""
        deadline = time.monotonic() + _PATIENCE_S
        while psutil.Process(self._process.pid).status() != psutil.STATUS_SLEEPING and time.monotonic() < deadline:
            time.sleep(0.01)
        self._process.send_signal(signal.SIGINT)

    def expect(self, text: str) -> None:
        """Wait until this appears behind what was expected before."""
        wanted, deadline = text.encode(), time.monotonic() + _PATIENCE_S
        while (at := self.shown.find(wanted, self._read)) < 0:
            if not self._take(deadline):
                raise AssertionError(f"{text!r} did not appear; what did: {self.shown[self._read :]!r}")
        self._read = at + len(wanted)

    def wait(self) -> int:
        """The exit code."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._take(deadline):
            pass
        return self._process.wait(_PATIENCE_S)

    def _take(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:
            return False
        self.shown += data
        return bool(data)

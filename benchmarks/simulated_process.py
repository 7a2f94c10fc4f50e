"""The parent's side of `python -m benchmarks.simulated_workers`: a fleet in its own process, asked line by line."""

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from benchmarks.simulated_workers import Status

_POLL_S = 0.02
_STOP_S = 30.0


class FleetProcess:
    """`n` simulated workers of the coordinator that serves `data`; leaving the context ends them."""

    def __init__(self, data: Path, n: int, *options: str) -> None:
        """Args: options: of the program, for instance `--pace-ms`, `5`."""
        self._n = n
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.simulated_workers", "--data", str(data), "--n", str(n), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def status(self) -> Status:
        return self._ask("status")

    def cut(self, count: int | None = None) -> Status:
        """Cut the connections of all, or of the first `count`, without a word."""
        return self._ask("cut" if count is None else f"cut {count}")

    def wait_ready(self, timeout_s: float) -> float:
        """Until all have a session; returns the seconds since the process was started.

        Raises:
            TimeoutError: some have none by then.
        """
        deadline = time.monotonic() + timeout_s
        while (status := self.status()).ready < self._n:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{status.ready} of {self._n} simulated workers are connected after {timeout_s} s")
            time.sleep(_POLL_S)
        return time.monotonic() - self._began

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ask(self, line: str) -> Status:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process was started without pipes")
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the simulated workers' process ended")
        return msgspec.json.decode(answer, type=Status)

"""A machine that runs Windows Python, for tests on Linux: one worker in a folder of its own, and commands beside it."""
# ruff: noqa: S101 - for tests, which lie outside tests/ because they need what `make test` does not

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from gogrid.client.local_grid import NOBODYS

ROOT = Path(__file__).parents[2]
WINE = str(ROOT / "packaging" / "windows_tests" / "wine")
PYTHON = "build/windows/python/python.exe"
_ASK_APP = """
import sys
from pathlib import Path
from runner.control_messages import encode_line
from tray import instance_messages
from tray.instance import ask_app
print(encode_line(ask_app(Path(sys.argv[2]), getattr(instance_messages, sys.argv[1])())).decode())
"""
UNTESTED = "packaging/windows_tests/untested_worker.py"


@dataclass
class WindowsMachine:
    data: Path
    log: Path
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def folder(self) -> str:
        """As Windows writes it."""
        return f"Z:{self.data}"

    def ask_app(self, question: str) -> dict[str, object]:
        """The answer to one of `tray.instance_messages`."""
        told = self.python("-c", _ASK_APP, question, f"{self.folder}/app.sock")
        if told.returncode != 0:
            raise AssertionError(told.stdout)
        answer: dict[str, object] = json.loads(told.stdout)
        return answer

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [WINE, PYTHON, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )

    def worker(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A `gogrid-worker` command."""
        return self.python("-m", "tray.cli", "--data", self.folder, *words)

    def start(self, *program: str, display: str = "") -> None:
        """
        Args:
            program: `-m tray.cli`, or a file.
            display: where its icon is shown; without one it is started with `--headless`.
        """
        surroundings = {**os.environ, **NOBODYS, "DISPLAY": display}
        with self.log.open("ab") as file:
            self._started.append(
                subprocess.Popen(
                    [WINE, PYTHON, *program, "--data", self.folder, *(() if display else ("--headless",))],
                    cwd=ROOT,
                    env=surroundings,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )

    def processes(self) -> list[psutil.Process]:
        """Those of this machine's worker and its icon, as Linux sees them; not the script that started Wine."""
        return [
            each
            for each in psutil.process_iter()
            if (words := _words(each))[0] != "bash"
            and (_windows_module("tray.icon", words) or any(self.data.name in word for word in words))
        ]

    def executors(self) -> list[psutil.Process]:
        """Whoever's they are: nothing else here runs executors on Windows Python."""
        return [each for each in psutil.process_iter() if _windows_module("runner.executor", _words(each))]

    def end(self) -> None:
        for process in (*self.processes(), *self.executors()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._started:
            started.wait(10)
        self._started.clear()


@contextlib.contextmanager
def display() -> Iterator[str]:
    """The name of a display of its own."""
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        yield f":{int(server.stdout.readline())}"
        server.terminate()


def within(seconds: float, true: Callable[[], object]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return bool(true())


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and _status(each) not in ("", psutil.STATUS_ZOMBIE)]


def _status(process: psutil.Process) -> str:
    """Empty: it is gone."""
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return ""


def _windows_module(name: str, words: list[str]) -> bool:
    return name in words and words[0].endswith("python.exe")


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() or [""]
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return [""]

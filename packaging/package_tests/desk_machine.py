"""A machine with a desktop whose owner has the frozen app in their home and leaves the tray running."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gogrid.client.answers import ChatTurn, Worker
from gogrid.client.local_grid import NOBODYS, LocalGrid
from gogrid.places import worker_places
from tests.desktop_session import DesktopSession, TrayMenu, family
from tray.instance import NoAppError, ask_app
from tray.instance_messages import AppStatus, AskApp, CheckUpdates, UpdateState

NAME = "desk"
_ASK_EVERY = 40
"""Looks, a tenth of a second or so each."""


class DeskMachine:
    def __init__(self, home: Path, program: Path, session: DesktopSession, grid: LocalGrid) -> None:
        """
        Args:
            program: what its owner starts.
            grid: whose coordinator it joins.
        """
        self._program, self._grid, self._session, self._log = program, grid, session, home / "log"
        settings = {"HOME": str(home), "GOGRID_WORKER_CPU_CORES": "2"}
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            settings["APPIMAGE_EXTRACT_AND_RUN"] = "1"
        self._environment = {**NOBODYS, **session.environment, **settings}
        places = worker_places(
            config=None, data=None, environment=self._environment, platform="linux", home=home, user=os.getuid()
        )
        self.data, self._instance = places.data, places.instance
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> str:
        """`gogrid-worker`, as its owner types it."""
        done = subprocess.run(
            [self._program, *words], env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def join(self) -> None:
        coordinator, address = Path(sys.executable).with_name("gogrid-coordinator"), self._grid.endpoint.port
        words = ("token", "create", "--address", f"127.0.0.1:{address}", "--data", self._grid.data, "--json")
        made = subprocess.run([coordinator, *words], capture_output=True, text=True, check=True)
        self.command("join", json.loads(made.stdout)["token"], "--name", NAME)

    def start(self) -> None:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen([self._program], env=self._environment, stderr=log)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def status(self) -> AppStatus | None:
        try:
            answer = ask_app(self._instance, AskApp())
        except NoAppError:
            return None
        return answer if isinstance(answer, AppStatus) else None

    def update(self) -> UpdateState:
        status = self.status()
        return status.update if status is not None else UpdateState()

    def listed(self) -> Worker:
        """As the coordinator lists it."""
        with self._grid.client() as client:
            return next(worker for worker in client.workers() if worker.name == NAME)

    def look_for_updates(self, state: str, limit_s: float = 240) -> int:
        """As "Check for updates" does, again and again, until the app says `state`: a coordinator may need a moment.

        Returns: by how many bytes the app grew at most meanwhile.
        """
        status = self.status()
        assert status is not None
        before = _forget_highest(status.pid)
        asked = itertools.count()

        def seen() -> bool:
            now = self.update().state
            if now not in (state, "checking", "downloading") and next(asked) % _ASK_EVERY == 0:
                ask_app(self._instance, CheckUpdates())
            return now == state

        until(seen, f"updates to be {state}", limit_s)
        return _memory(status.pid, "VmHWM") - before

    def click(self, label: str) -> None:
        """In the tray's menu, once it is there."""
        until(self._icon, "the icon")
        menu = TrayMenu(self._session, self._icon())
        until(lambda: label in menu.labels(), f"{label} in the menu")
        menu.click(label)

    def restart(self, true: Callable[[Worker], bool], what: str, limit_s: float = 240) -> float:
        """Wait until it is away, then until it is back as it should be; returns the seconds between."""
        until(lambda: not self.listed().connected, "the worker to restart", 300)
        return until(lambda: (worker := self.listed()).connected and true(worker), what, limit_s)

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def _icon(self) -> int:
        status = self.status()
        if status is None or not status.icon:
            return 0
        icons = [process.pid for process in family(status.pid) if process.name() == "gogrid-icon"]
        return icons[0] if icons else 0


class Stream(threading.Thread):
    """A client that reads an answer while everything else happens."""

    def __init__(self, grid: LocalGrid, model: str, prompt: str, max_tokens: int) -> None:
        super().__init__(daemon=True)
        self._grid, self._model, self._prompt, self._max_tokens = grid, model, prompt, max_tokens
        self._enough = threading.Event()
        self.times, self.text, self.ended = list[float](), "", ""
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with self._grid.client() as client:
                turns = [ChatTurn("user", self._prompt)]
                for piece in client.chat_stream(self._model, turns, max_tokens=self._max_tokens, temperature=1.0):
                    self.text += piece.text
                    self.ended = piece.finish_reason or self.ended
                    self.times.append(time.monotonic())
                    if self._enough.is_set():
                        return
        except Exception as error:  # noqa: BLE001  # whatever it is, the test sees it
            self.error = error

    def enough(self) -> None:
        """Its client goes away with the next piece."""
        self._enough.set()
        self.join(60)

    @property
    def longest_gap(self) -> float:
        """Seconds that its client waited for the next piece."""
        return max((after - before for before, after in zip(self.times, self.times[1:], strict=False)), default=0.0)


def until(true: Callable[[], object], what: str, limit_s: float = 240) -> float:
    """Returns the seconds it took; the limit is only there so that a test ends, also on a busy machine."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < limit_s, f"waited for {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def _forget_highest(pid: int) -> int:
    """Let the kernel count the highest use of memory anew; returns what is used now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _memory(pid, "VmRSS")


def _memory(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) << 10

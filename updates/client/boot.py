"""The start of the program: which copy runs, and who comes back when a new one is no good.

The installer's copy is always the one that people, services and menus start. Before it does anything else it looks
whether a newer version lies ready and hands over: the new one takes its place in the same process, or, while it is on
trial (and on Windows always), runs as its child. Whoever watches a trial is the installer's copy, never the new one.

Promises: what cannot be read or started never keeps the machine without a worker: then the installer's copy runs. Two
that start at once do not judge each other. A signal to end reaches the child.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

from updates.client.disk import only_one
from updates.client.layout import Installation
from updates.client.probation import PROBATION_S, Ended, Plan, after, chosen, plan, speaks
from updates.client.switch import version_of
from updates.errors import StateFileError, UpdateError
from updates.trust.trusted_state import TrustedState, start_undone

RESTART = 4
"""Exit status of a child that wants what is installed now to be started in its place."""
OCCUPIED = 5
"""Exit status of a child that finds another one at work here already: that says nothing about its version."""
ENDED = 6
"""Exit status of a child whose work was ended on purpose: 0, but not that of a program that merely did nothing."""
_SANE = (3, OCCUPIED, ENDED)
"""It has joined no coordinator; it came to the wrong moment; somebody ended it."""
STARTED_BY = "GOGRID_STARTED_BY"
"""Tells a child which copy handed over, and whether that one still waits: `wait|gone SEQ PROGRAM`."""
_FRESH = {"PYINSTALLER_RESET_ENVIRONMENT": "1"}
"""So that one frozen program that starts another one does not pass on its own folders."""
_FORWARDED = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)


@dataclass(frozen=True, slots=True)
class Here:
    """This copy is the one that runs; it goes on in this process."""

    launcher: Path
    """The program to start for starting anew."""
    own: int
    """The installer's copy."""
    awaited: bool = False
    """Somebody waits for our exit status and understands `RESTART`."""
    watcher: int = 0
    """The process that does."""


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds."""

    probation_s: float = PROBATION_S
    look_s: float = 0.25
    grace_s: float = 20.0
    """A child that is told to end may take so long."""
    again_s: float = 2.0
    """Before what crashed is started once more."""


@dataclass(slots=True)
class Launch:
    """One start of the program."""

    installation: Installation
    program: Path
    """This one; the same name is looked for in every version."""
    launcher: Path
    """What to start for starting anew: this program, or the one file that it was unpacked from."""
    arguments: Sequence[str]
    environment: Mapping[str, str]
    say: Callable[[str], None]
    pace: Pace = field(default_factory=Pace)
    _asked_to_end: bool = False

    def run(self) -> Here | int:
        """Start what is to run. Returns: go on here, or what this process is to end with."""
        try:
            with only_one(self.installation.folder.lock) as alone:
                return self._lead() if alone else self._follow()
        except (UpdateError, OSError) as error:
            self.say(f"what is known about updates cannot be used ({error}); this copy runs")
            return self._here

    def hand_over(self) -> Here | int:
        """For commands that speak with what runs: the same version once it has proved itself; nothing is decided."""
        try:
            return self._pass_on(speaks, self.hand_over)
        except (UpdateError, OSError):
            return self._here

    @property
    def _here(self) -> Here:
        return Here(self.launcher, self.installation.copy.seq)

    def _follow(self) -> Here | int:
        return self._pass_on(chosen, self._follow)

    def _pass_on(
        self, choice: Callable[[TrustedState, int, frozenset[int]], int], again: "Callable[[], Here | int]"
    ) -> Here | int:
        own = self.installation.copy.seq
        seq = choice(self.installation.load(), own, self.installation.folder.present())
        return self._here if seq == own else self._become(seq, again)

    def _lead(self) -> Here | int:
        own = self.installation.copy.seq
        present = self.installation.folder.present
        if self.installation.load().installed == 0 and not present():
            return self._here  # nothing was ever updated
        step = self._decide(lambda state: plan(state, own, present()))
        while step.seq != own:
            if not step.watched:
                return self._become(step.seq, self._lead)
            tried, began = step.seq, time.monotonic()
            status, ended = self._try(tried)
            if ended is None:
                self.installation.change(start_undone)
                return self._over(status)
            step = self._decide(partial(after, ended, own=own, present=present()))
            self._tell(ended, tried, step)
            if ended is Ended.CRASHED and step.seq == tried:
                time.sleep(max(0.0, self.pace.again_s - (time.monotonic() - began)))
        return self._here

    def _over(self, status: int) -> Here | int:
        """What to end with after a child that ended so; this copy says, or shows, what runs already."""
        if status == OCCUPIED:
            return self._here
        return 0 if status == ENDED else status

    def _decide(self, decision: Callable[[TrustedState], Plan]) -> Plan:
        """Remembered before anything is done."""
        made: list[Plan] = []

        def alter(state: TrustedState) -> TrustedState:
            made.append(decision(state))
            return made[-1].state

        self.installation.change(alter)
        return made[-1]

    def _tell(self, ended: Ended, tried: int, step: Plan) -> None:
        """Its owner and the coordinator learn what became of it."""
        if step.seq == tried or ended is Ended.ASKED:
            return
        old, new = version_of(self.installation, tried), version_of(self.installation, step.seq)
        why = "did not start" if ended is Ended.CRASHED else "did not reach its coordinator in time"
        sentence = f"version {old} {why} on this machine; back to version {new}"
        self.say(sentence)
        self.installation.folder.write_note(sentence)

    def _become(self, seq: int, again: "Callable[[], Here | int]") -> Here | int:
        """Let it take our place; returns only where a system has no such thing, when it has ended."""
        command = self._command(seq)
        if sys.platform == "win32":
            with self._forwarding() as forward:
                forward.append(child := subprocess.Popen(command, env=self._environment("wait")))
                status = child.wait()
            return again() if status == RESTART else self._over(status)
        os.execve(command[0], command, self._environment("gone"))  # noqa: S606  # no shell

    def _try(self, seq: int) -> tuple[int, Ended | None]:
        """Start it and watch until it has proved itself, then wait for its end.

        Returns: its exit status, and what that means for the trial; None: nothing, it is simply over.
        """
        deadline = time.monotonic() + self.pace.probation_s
        with self._forwarding() as forward:
            try:
                child = subprocess.Popen(self._command(seq), env=self._environment("wait"))
            except OSError as error:
                self.say(f"version {version_of(self.installation, seq)} cannot be started: {error.strerror or error}")
                return 1, Ended.CRASHED
            forward.append(child)
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return self._judge(seq, child.wait(self.pace.look_s))
                if time.monotonic() < deadline or self._asked_to_end:
                    continue
                if self._proved(seq):
                    return self._judge(seq, child.wait())
                self._end(child)
                return 1, Ended.ASKED if self._proved(seq) else Ended.TOO_LATE

    def _judge(self, seq: int, status: int) -> tuple[int, Ended | None]:
        if status == RESTART and not self._asked_to_end:
            return status, Ended.ASKED
        over = status in _SANE or self._asked_to_end or self._proved(seq)
        return status, None if over else Ended.CRASHED

    def _proved(self, seq: int) -> bool:
        try:
            return self.installation.load().last_good == seq
        except StateFileError:
            return False

    def _end(self, child: "subprocess.Popen[bytes]") -> None:
        child.terminate()
        try:
            child.wait(self.pace.grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _command(self, seq: int) -> list[str]:
        return [str(self.installation.folder.version(seq) / self.program.name), *self.arguments]

    def _environment(self, launcher: str) -> dict[str, str]:
        told = f"{launcher} {self.installation.copy.seq} {self.launcher}"
        return {**self.environment, **_FRESH, STARTED_BY: told}

    @contextmanager
    def _forwarding(self) -> "Iterator[list[subprocess.Popen[bytes]]]":
        """Signals that ask this process to end go to the child."""
        children: list[subprocess.Popen[bytes]] = []

        def forward(_number: int, _frame: FrameType | None) -> None:
            self._asked_to_end = True
            for child in children:
                with suppress(OSError):
                    child.terminate()

        before = {number: signal.signal(number, forward) for number in _FORWARDED}
        try:
            yield children
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def started_by(environment: MutableMapping[str, str]) -> Here | None:
    """Who handed over to us, taken out of the environment so that no other program inherits it; None: nobody did."""
    told = environment.pop(STARTED_BY, "").split(" ", 2)
    if len(told) != 3 or not (told[1].isascii() and told[1].isdecimal()):
        return None
    return Here(Path(told[2]), int(told[1]), awaited=told[0] == "wait", watcher=os.getppid())


def start_anew(here: Here, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Let what is installed now run in our place; returns what to end with, where this process does not vanish."""
    watched = here.awaited and os.getppid() == here.watcher  # else it was killed, and nobody would start us again
    return RESTART if watched else _again(here.launcher, arguments, environment)


def _again(launcher: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    command, fresh = [str(launcher), *arguments], {**environment, **_FRESH}
    if sys.platform == "win32":
        subprocess.Popen(command, env=fresh, creationflags=subprocess.CREATE_NEW_PROCESS_GROUP)
        return 0
    os.execve(command[0], command, fresh)  # noqa: S606  # no shell

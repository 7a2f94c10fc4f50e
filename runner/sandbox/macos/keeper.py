"""The guard between the worker and one job on a Mac, which has neither process namespaces nor a parent-death signal.

Runs outside the sandbox, one for each job. Promises: the job's process group and all that was seen to come from it is
dead, and its folder removed, when this ends; it ends when the job does, when the worker closes the lifeline or dies,
and when a cap is passed twice in a row. Says on the lifeline, a line each: `job PID`, then `ended STATUS WHY`.
"""

import os
import select
import signal
import time
from collections.abc import Sequence

from runner.sandbox.macos.disk import remove, used_bytes
from runner.sandbox.macos.processes import ProcessTable
from runner.sandbox.macos.watch import Caps, Ending, Kin, Watch
from runner.sandbox.memory_watch import SAMPLE_EVERY_S
from sandbox_profiles import macos

CANNOT_START = 127
_KILL_ROUNDS = 200
_KILL_EVERY_S = 0.005


def keep(lifeline: int, caps: Caps, folder: str, command: Sequence[str], table: ProcessTable) -> int:
    """Start `command`, see it to its end, and leave nothing of it; gives this process's exit status.

    Args:
        lifeline: one end of a socket pair; the job does not get it.
        folder: the job's own; removed at the end.
    """
    os.set_inheritable(lifeline, False)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    try:
        job = _start(command)
    except OSError as error:
        remove(folder)
        os.write(2, f"{command[0]} cannot be started: {os.strerror(error.errno or 0)}\n".encode())
        return CANNOT_START
    _let_go_of_its_pipes()
    _say(lifeline, f"job {job}")
    guard = _Guard(job, caps, folder, table)
    status, why = guard.wait(lifeline, woken)
    guard.end_all()
    remove(folder)
    _say(lifeline, f"ended {status} {why}")
    return 0


class _Guard:
    def __init__(self, job: int, caps: Caps, folder: str, table: ProcessTable) -> None:
        self._job = job
        self._folder = folder
        self._table = table
        self._kin = Kin(job)
        self._watch = Watch(caps)
        self._room_due = 0.0

    def wait(self, lifeline: int, woken: int) -> tuple[int, str]:
        """(exit status, why it was ended); negative status: that signal."""
        poll = select.poll()
        poll.register(lifeline, select.POLLIN)
        poll.register(woken, select.POLLIN)
        due = time.monotonic()
        while True:
            ready = {number for number, _ in poll.poll(max(0.0, due - time.monotonic()) * 1000)}
            woken_by = set(os.read(woken, 64)) if woken in ready else set()
            pid, status = os.waitpid(self._job, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status), ""
            if lifeline in ready or woken_by - {signal.SIGCHLD}:
                return self._stop(), ""
            now = time.monotonic()
            if now >= due:
                due = now + SAMPLE_EVERY_S
                if (ending := self._look(now)) is not None:
                    return self._stop(), ending.value

    def end_all(self) -> bool:
        """Kill everything that belongs to the job until none is left; false: some process would not die."""
        for _ in range(_KILL_ROUNDS):
            members = self._kin.look(self._table.processes()) - {os.getpid()}
            if not members:
                return True
            for pid in members:
                _kill(pid)
            time.sleep(_KILL_EVERY_S)
        return False

    def _look(self, now: float) -> Ending | None:
        members = self._kin.look(self._table.processes())
        used = {
            Ending.PROCESSES: len(members),
            Ending.MEMORY: sum(self._table.footprint(pid) for pid in members),
        }
        if now >= self._room_due:
            self._room_due = now + macos.SAMPLE_ROOM_EVERY_S
            used[Ending.ROOM] = used_bytes((self._folder,), macos.MOST_ENTRIES)
        return self._watch.seen(used, now)

    def _stop(self) -> int:
        """Kill the job, its first process last, so that its id stays its own meanwhile."""
        members = self._kin.look(self._table.processes())
        for pid in (*(members - {self._job}), self._job):
            _kill(pid)
        return os.waitstatus_to_exitcode(os.waitpid(self._job, 0)[1])


def _start(command: Sequence[str]) -> int:
    names = macos.ENVIRONMENT_NAMES
    return os.posix_spawn(
        command[0],
        list(command),
        {name: value for name, value in os.environ.items() if name in names},
        setpgroup=0,
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )


def _let_go_of_its_pipes() -> None:
    """The job's pipes must end with the job, and not with this process."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    os.close(nothing)


def _say(lifeline: int, line: str) -> None:
    try:
        os.write(lifeline, f"{line}\n".encode())
    except OSError:
        return  # the worker is gone; there is nobody to tell


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return

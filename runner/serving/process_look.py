"""What the operating system says of a sandbox's processes; the watchdog's eyes.

Promises: never raises and never blocks on a process; one that is gone or may not be read counts as at work, because
its end is told by its pipes. Finding a process's children costs milliseconds, so they are found once for each silence.
"""

import psutil

from runner.serving.watchdog import Look

_AT_WORK = frozenset({psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP})
_UNKNOWN = Look(stopped=False, at_work=True, cpu_s=0.0)


class Eyes:
    """Of one sandbox, by the process id of its outermost process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._processes: list[psutil.Process] = []

    def look(self) -> Look:
        try:
            if not self._processes:
                root = psutil.Process(self._pid)
                self._processes = [root, *root.children(recursive=True)]
            states = [process.status() for process in self._processes]
            times = [process.cpu_times() for process in self._processes]
        except psutil.Error:
            self._processes = []
            return _UNKNOWN
        return Look(
            stopped=psutil.STATUS_STOPPED in states,
            at_work=any(state in _AT_WORK for state in states),
            cpu_s=sum(time.user + time.system for time in times),
        )

    def rest(self) -> None:
        """The silence is over."""
        self._processes = []

"""How much of the processor is used by programs that are not ours.

Ours are this process and everything below it, executors and scripts in their sandboxes among them.
"""

import os
import sys
from contextlib import suppress

import psutil

from runner.probes.process_memory import ProcessMemory

_ENDED_COUNT = sys.platform == "linux"
"""What an ended process has used goes on to count for its parent."""


class ProcessorLoad:
    def __init__(self, processes: ProcessMemory) -> None:
        self._processes = processes
        self._before: tuple[float, float, dict[int, float]] | None = None

    def others(self) -> float | None:
        """Share of all processors since the last look, 0 to 1; None: this was the first one."""
        spent = psutil.cpu_times()
        idle = spent.idle + getattr(spent, "iowait", 0.0)
        total = sum(spent) - getattr(spent, "guest", 0.0) - getattr(spent, "guest_nice", 0.0)
        ours = {pid: seconds for pid in self._processes.tree(os.getpid()) if (seconds := _used(pid)) is not None}
        before, self._before = self._before, (total, total - idle, ours)
        if before is None or total <= before[0]:
            return None
        known = sum(seconds for pid, seconds in before[2].items() if _ENDED_COUNT or pid in ours)
        own = max(0.0, sum(ours.values()) - known)
        return min(1.0, max(0.0, total - idle - before[1] - own) / (total - before[0]))


def _used(pid: int) -> float | None:
    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return float(sum(times[:4])) if _ENDED_COUNT else float(times.user + times.system)
    return None

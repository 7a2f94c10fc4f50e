"""How much processor time the worker's own processes have used: the runner and everything below it."""

import os

import psutil

from runner.probes.process_memory import ProcessMemory, process_memory


class Processors:
    """Call from one thread at a time; milliseconds."""

    def __init__(self, table: ProcessMemory | None = None) -> None:
        self._table = table if table is not None else process_memory()
        self._cores = psutil.cpu_count() or 1
        self._before = self._look()

    def used(self) -> float:
        """Seconds since the last call, divided by the processors. A process that ended meanwhile is missed."""
        now = self._look()
        spent = sum(max(0.0, seconds - self._before.get(pid, 0.0)) for pid, seconds in now.items())
        self._before = now
        return spent / self._cores

    def _look(self) -> dict[int, float]:
        found: dict[int, float] = {}
        for pid in self._table.tree(os.getpid()):
            try:
                times = psutil.Process(pid).cpu_times()
            except psutil.Error:
                continue
            found[pid] = times.user + times.system
        return found

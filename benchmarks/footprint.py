"""What the programs cost when nobody asks anything."""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil

from benchmarks.figures import Figure
from gogrid.client.local_grid import LocalGrid

READY_S = 2.0
COORDINATOR_MB = 130.0
RUNNER_MB = 65.0
RUNNER_CPU = 0.3
_STARTS = 5
_SETTLE_S = 5.0
_WATCH_S = 30.0


def measure(folder: Path) -> Iterator[Figure]:
    with LocalGrid(folder) as grid:
        grid.init()
        grid.add_model("echo")
        ready = [grid.start_coordinator()]
        for _ in range(_STARTS - 1):
            ready.append(grid.restart_coordinator())
        yield Figure("coordinator: start to ready", median(ready), "s", READY_S, False, f"median of {_STARTS} starts")
        grid.start_worker()
        time.sleep(_SETTLE_S)
        coordinator = psutil.Process(grid.endpoint.pid)
        (runner,) = psutil.Process(grid.worker_pid).children()
        before = runner.cpu_times()
        time.sleep(_WATCH_S)
        after = runner.cpu_times()
        busy = (after.user + after.system - before.user - before.system) / _WATCH_S * 100
        yield Figure("coordinator: resident when idle", _megabytes(coordinator), "MB", COORDINATOR_MB, False)
        yield Figure("runner: resident when idle", _megabytes(runner), "MB", RUNNER_MB, False)
        yield Figure("runner: CPU when idle", busy, "% of a core", RUNNER_CPU, False, f"over {_WATCH_S:.0f} s")


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6

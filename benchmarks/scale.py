"""Many connected workers on one coordinator: what one more costs, idle, and how long until all are there.

Each size gets a fresh coordinator, so that memory starts from the same floor. A second coordinator with heartbeats
twice a second (which leave no silence to ask after) tells apart what one heartbeat and one question cost.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.figures import Figure
from benchmarks.simulated_process import FleetProcess
from gogrid.client.local_grid import LocalGrid
from gogrid.protocol.coordinator_session import QUIET

SIZES = (10, 100, 1000)
MEMORY_KB = 150.0
CPU_MS = 0.25
_JUDGED_FROM = 100
"""Fewer workers share too much of what a coordinator costs without any."""
_READY_S = 120.0
_SETTLE_S = 5.0
_WATCH_S = 30.0
_GONE_S = 10.0
_HEARTBEAT_S = 10.0
_QUICK_HEARTBEAT_S = 0.5
_QUICK_SIZE = 100


@dataclass(frozen=True, slots=True)
class Idle:
    """One coordinator with `workers` connected and nothing to do."""

    workers: int
    ready_s: float
    handshake_ms: float
    """The coordinator's CPU for each worker until all were ready."""
    memory_kb: float
    """Of each worker."""
    cpu_ms: float
    """Each second, for each worker."""
    again_kb: float
    """Memory for each worker after all connections were cut and came back."""
    left_kb: float
    """What is still held for each worker after all have left."""


def measure(folder: Path) -> Iterator[Figure]:
    runs = []
    for size in SIZES:
        run = _idle(folder / str(size), size, _HEARTBEAT_S, cut=True)
        runs.append(run)
        memory_kb, cpu_ms = (MEMORY_KB, CPU_MS) if size >= _JUDGED_FROM else (None, None)
        name = f"{size} workers"
        detail = f"{run.handshake_ms:.1f} ms of the coordinator's CPU each"
        yield Figure(f"{name}: until all are ready", run.ready_s, "s", detail=detail)
        detail = f"{run.again_kb:.0f} KB after all reconnected, {run.left_kb:.0f} KB after all left"
        yield Figure(f"{name}: coordinator's memory for each", run.memory_kb, "KB", memory_kb, False, detail)
        detail = f"{run.cpu_ms * size / 10:.1f} % of a core in all, over {_WATCH_S:.0f} s"
        yield Figure(f"{name}: coordinator's CPU for each", run.cpu_ms, "ms/s", cpu_ms, False, detail)
    yield from _exchanges(folder, runs[-1])


def _exchanges(folder: Path, usual: Idle) -> Iterator[Figure]:
    """What one heartbeat costs, and one question after silence."""
    quick = _idle(folder / "quick", _QUICK_SIZE, _QUICK_HEARTBEAT_S, cut=False)
    heartbeat_ms = quick.cpu_ms * _QUICK_HEARTBEAT_S
    yield Figure(
        "coordinator's CPU for one heartbeat", heartbeat_ms, "ms", detail=f"{_QUICK_SIZE} workers, two each a second"
    )
    asked = int(_HEARTBEAT_S / QUIET.every_s)
    question_ms = (usual.cpu_ms * _HEARTBEAT_S - heartbeat_ms) / asked
    detail = f"{usual.workers} workers; what is left of 10 s after the heartbeat, for each of {asked} questions"
    yield Figure("coordinator's CPU for one question after silence", question_ms, "ms", detail=detail)


def _idle(folder: Path, workers: int, heartbeat_s: float, *, cut: bool) -> Idle:
    folder.mkdir()
    settings = {"GOGRID_COORDINATOR_LOG_LEVEL": "warning", "GOGRID_COORDINATOR_HEARTBEAT": str(heartbeat_s)}
    with LocalGrid(folder, settings) as grid:
        grid.init()
        grid.add_model("echo")
        grid.start_coordinator()
        coordinator = psutil.Process(grid.endpoint.pid)
        empty, began = _resident(coordinator), _cpu_s(coordinator)
        with FleetProcess(grid.data, workers) as fleet:
            ready_s = fleet.wait_ready(_READY_S)
            handshake_s = _cpu_s(coordinator) - began
            time.sleep(_SETTLE_S)
            memory, before = _resident(coordinator), _cpu_s(coordinator)
            time.sleep(_WATCH_S)
            busy_s = _cpu_s(coordinator) - before
            if cut:
                sessions = fleet.status().sessions  # before it: the first are back before the last is cut
                fleet.cut()
                while fleet.status().sessions < sessions + workers:
                    time.sleep(0.1)
                time.sleep(_SETTLE_S)
            again = _resident(coordinator)
        time.sleep(_GONE_S)
        left = _resident(coordinator)
    each = 1 / workers
    return Idle(
        workers=workers,
        ready_s=ready_s,
        handshake_ms=handshake_s * 1000 * each,
        memory_kb=(memory - empty) / 1000 * each,
        cpu_ms=busy_s / _WATCH_S * 1000 * each,
        again_kb=(again - empty) / 1000 * each,
        left_kb=(left - empty) / 1000 * each,
    )


def _resident(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)

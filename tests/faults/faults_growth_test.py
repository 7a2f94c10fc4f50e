"""Nothing that was done stays behind in a coordinator (R22): its memory, open files and write-ahead log do not grow.

Hours of use in a minute: thousands of durable jobs, clients that leave in mid-answer, workers that are cut off and come
back, round after round. It is looked at between rounds, when nothing is under way.
"""

import json
import time
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks.simulated_process import FleetProcess
from tests.faults.faultgrid import SHORT, FaultGrid, within
from tests.faults.figures import Row, Table

ROUNDS, WARM = 12, 6
"""The first ones fill what is kept on purpose: caches, pools, the allocator's own room."""
WORKERS, JOBS, CLIENTS = 20, 5000, 40
GROWTH_BYTES = 4 << 20
WAL_BYTES = 64 << 20
_LINES = 1000
_JOB = json.dumps({"kind": "completion", "request": {"model": "echo", "prompt": "ok", "max_tokens": 1}}).encode()
_LONG = {"model": "echo", "stream": True, "prompt": "#echo chunks=2000 delay_ms=20\nhello", "max_tokens": 2000}


def churn(http: httpx.Client, fleet: FleetProcess) -> None:
    """One round; over when nothing is under way any more."""
    for _ in range(JOBS // _LINES):
        lines = b"\n".join([_JOB] * _LINES)
        taken = http.post("/api/v1/jobs/bulk", content=lines, headers={"content-type": "application/jsonl"}, timeout=60)
        assert taken.status_code in (200, 201), taken.text[:300]
    for _ in range(CLIENTS):
        with http.stream("POST", "/v1/completions", json=_LONG) as answer:
            assert answer.status_code == 200
            next(answer.iter_lines())
    unfinished = {"state": "queued,leased,running", "kind": "all", "limit": "1"}
    assert within(120, lambda: not http.get("/api/v1/jobs", params=unfinished).json()["data"], 0.1)
    sessions = fleet.status().sessions
    fleet.cut()
    assert within(60, lambda: fleet.status().sessions >= sessions + WORKERS and fleet.status().ready == WORKERS, 0.1)


@pytest.mark.soak
@pytest.mark.fault("growth")
def test_a_coordinator_keeps_nothing_of_what_is_over(tmp_path: Path, table: Table) -> None:
    settings = {**SHORT, "GOGRID_COORDINATOR_JOBS_PER_KEY": "100000", "GOGRID_COORDINATOR_LOG_LEVEL": "warning"}
    resident, files, wal = [], [], []
    with FaultGrid(tmp_path, settings) as grid, FleetProcess(grid.local.data, WORKERS) as fleet:
        fleet.wait_ready(60)
        process = psutil.Process(grid.local.endpoint.pid)
        for _ in range(ROUNDS):
            churn(grid.http, fleet)
            time.sleep(1.0)
            resident.append(process.memory_info().rss)
            files.append(process.num_fds())
            wal.append((grid.local.data / "coordinator.db-wal").stat().st_size)
    grown = resident[-1] - resident[WARM - 1]
    others = {
        "jobs": ROUNDS * JOBS,
        "MB after each round": " ".join(f"{size / 1e6:.1f}" for size in resident),
        "grown since it was warm MB": grown / 1e6,
        "open files": f"{files[WARM - 1]} then {files[-1]}",
        "log max MB": max(wal) / 1e6,
    }
    met = grown <= GROWTH_BYTES and files[-1] <= files[WARM - 1] and max(wal) <= WAL_BYTES
    goal = "4 MB, no open file, a log of 64 MiB at most"
    table.add(Row("growth", ROUNDS, goal, met, None, others))
    assert files[-1] <= files[WARM - 1], files
    assert max(wal) <= WAL_BYTES, wal
    assert grown <= GROWTH_BYTES, resident

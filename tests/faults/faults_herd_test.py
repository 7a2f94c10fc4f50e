"""Every worker loses its coordinator at once, and all come back (R17)."""

import time
from pathlib import Path

import pytest

from benchmarks.simulated_process import FleetProcess
from tests.faults.conftest import Form
from tests.faults.faultgrid import FaultGrid
from tests.faults.figures import Row, Table

READY_S = 30.0


@pytest.mark.fault("herd")
def test_a_herd_of_workers_is_back_within_thirty_seconds(tmp_path: Path, form: Form, table: Table) -> None:
    """Simulated workers in one process, each from an address of its own; the coordinator is killed, and they come back
    by themselves. Timed from the moment at which it serves again."""
    count = form.pick(40, 500)
    with FaultGrid(tmp_path) as grid, FleetProcess(grid.local.data, count) as fleet:
        fleet.wait_ready(120)
        sessions = fleet.status().sessions
        grid.local.restart_coordinator()
        begun = time.monotonic()
        while fleet.status().sessions < sessions + count or fleet.status().ready < count:
            if time.monotonic() - begun > 90:
                break
            time.sleep(0.05)
        back_s = time.monotonic() - begun
        status = fleet.status()
        listed = sum(bool(worker["connected"]) for worker in grid.listed().values())
    others = {"back s": back_s, "connected": status.ready, "handshakes": status.sessions - sessions}
    met = back_s <= READY_S and listed == count
    table.add(Row("herd", count, "all ready within 30 s", met, None, others))
    assert listed == count
    assert back_s <= READY_S

"""Wall clocks jump by a day (R16)."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.client_log import AnyEntry, Completed
from tests.faults.clock import Clock
from tests.faults.conftest import Form
from tests.faults.faultgrid import SHORT, FaultGrid
from tests.faults.figures import Row, Table
from tests.faults.load import Order

DAY_S = 86400
_LOAD = Order(submitters=3, open_jobs=6, job_s=0.2)


def test_a_turned_clock_shows_its_time_and_keeps_the_monotonic_one(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    clock.jump_to(DAY_S)
    code = "import time; print(time.time(), time.monotonic())"
    said = subprocess.run(
        [sys.executable, "-c", code], env=dict(clock.environment), capture_output=True, check=True
    ).stdout
    wall, monotonic = map(float, said.split())
    assert wall - time.time() == pytest.approx(DAY_S, abs=5)
    assert monotonic == pytest.approx(time.monotonic(), abs=5)


@pytest.mark.sandbox
@pytest.mark.fault("clock")
def test_leases_sessions_and_jobs_do_not_notice_a_clock_that_jumps(tmp_path: Path, form: Form, table: Table) -> None:
    """The coordinator's and one worker's; a day forward, two days back, a day forward. In the full form a worker dies
    just before a jump back: its jobs, which wait for their next attempt, would wait a day by the wall clock."""
    pause_s, clock = form.pick(0.5, 3.0), Clock(tmp_path / "clock")
    jumps = (DAY_S, -DAY_S, 0, -DAY_S, DAY_S, 0)[: form.pick(3, 6)]
    with FaultGrid(tmp_path, {**SHORT, **clock.environment}) as grid:
        for name in ("one", "two")[: form.pick(1, 2)]:
            grid.add_worker(name)
        grid.wait_ready()
        sessions = {name: worker["connected_since"] for name, worker in grid.listed().items()}
        load = grid.load("clock", _LOAD)
        for offset in jumps:
            time.sleep(pause_s)
            clock.jump_to(offset)
        time.sleep(pause_s)
        kept = sum(grid.listed()[name]["connected_since"] == since for name, since in sessions.items())
        again = _again(load.entries())
        if form.soak:
            clock.jump_to(DAY_S)
            time.sleep(0.5)
            grid.worker("two").kill()
            time.sleep(0.3)
            clock.jump_to(0)
            grid.worker("two").start()
        verdict = grid.judge(load, 60)
    others = {
        "acknowledged": verdict.acknowledged,
        "sessions kept": f"{kept} of {len(sessions)}",
        "jobs that ran twice": again,
    }
    met = verdict.clean and kept == len(sessions) and not again
    table.add(Row("clock", len(jumps), "lost 0, no lease and no session ended by it", met, verdict, others))
    assert verdict.clean, verdict.examples
    assert (kept, again) == (len(sessions), 0)


def _again(entries: list[AnyEntry]) -> int:
    """Completed jobs that needed more than one lease."""
    return sum(isinstance(entry, Completed) and not entry.mark.startswith("epoch 1 ") for entry in entries)

"""The coordinator is killed with SIGKILL, again and again, under load (R1, R9)."""

import random
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Form
from tests.faults.faultgrid import DEFAULTS, FaultGrid
from tests.faults.figures import Row, Table, percentile
from tests.faults.load import EVERY_KIND, Order

pytestmark = [pytest.mark.sandbox, pytest.mark.fault("coordinator_kill")]

BACK_S = 15.0
_GOAL = "lost 0, workers back within 15 s"
_LOAD = Order(submitters=3, open_jobs=6, kinds=EVERY_KIND)


def test_a_killed_coordinator_loses_nothing_acknowledged_and_its_workers_come_back(
    pair: FaultGrid, form: Form, table: Table
) -> None:
    """Most kills come at any moment, also while it starts; some only when the workers are back, which is timed."""
    luck, kills, timed = random.Random(1), form.pick(2, 92), form.pick(1, 32)
    back, ready = [], []
    load = pair.load("coordinator_kill", _LOAD)
    for number in range(kills):
        time.sleep(luck.uniform(0.0, 2.5) if form.soak else 0.7)
        ready.append(pair.local.restart_coordinator())
        if number % (kills // timed) == 0 and len(back) < timed:
            back.append(pair.wait_ready(seconds=60))
    pair.wait_ready(seconds=60)
    verdict = pair.judge(load, 60)
    others = {
        "acknowledged": verdict.acknowledged,
        "serving again max s": max(ready),
        "workers back p50 s": percentile(back, 0.5),
        "workers back max s": max(back),
    }
    met = verdict.clean and max(back) <= BACK_S
    table.add(Row("coordinator_kill", kills, _GOAL, met, verdict, others))
    assert verdict.clean, verdict.examples
    assert verdict.acknowledged >= kills
    assert max(back) <= BACK_S


@pytest.mark.soak
def test_with_the_default_times_workers_are_back_within_fifteen_seconds(tmp_path: Path, table: Table) -> None:
    kills, back = 8, []
    with FaultGrid(tmp_path, DEFAULTS) as grid:
        for name in ("one", "two"):
            grid.add_worker(name)
        grid.wait_ready()
        load = grid.load("client", _LOAD)
        for _ in range(kills):
            grid.local.restart_coordinator()
            back.append(grid.wait_ready(seconds=60))
            time.sleep(1.0)
        verdict = grid.judge(load, 90)
    others = {"workers back p50 s": percentile(back, 0.5), "workers back max s": max(back)}
    met = verdict.clean and max(back) <= BACK_S
    table.add(Row("coordinator_kill: default times", kills, _GOAL, met, verdict, others))
    assert verdict.clean, verdict.examples
    assert max(back) <= BACK_S

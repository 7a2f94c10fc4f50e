"""The network between one worker and the coordinator goes, one way or both (R11, R13, R14)."""

import time
from pathlib import Path

import pytest

from tests.faults.conftest import Form, full_form
from tests.faults.faultgrid import DEFAULTS, FaultGrid, within
from tests.faults.figures import Row, Table
from tests.faults.impairment import BLACKHOLE, CLEAR, Phase, Schedule
from tests.faults.load import Order

pytestmark = pytest.mark.sandbox

AVOIDED_S = 5.0 + 0.5
"""Half a second for looking, on a busy machine."""
_LOAD = Order(submitters=3, open_jobs=6, job_s=0.4)
_WAYS = {
    "two ways": (BLACKHOLE, BLACKHOLE),
    "worker unheard": (BLACKHOLE, CLEAR),
    "coordinator unheard": (CLEAR, BLACKHOLE),
}


@pytest.mark.fault("partition")
@pytest.mark.parametrize("way", full_form(_WAYS, keep=("worker unheard",)))
def test_a_partitioned_worker_is_avoided_fences_itself_and_comes_back(
    pair: FaultGrid, form: Form, table: Table, way: str
) -> None:
    """The other worker goes on; what the cut-off one finishes alone is done once all the same."""
    cut_s, (up, down) = form.pick(6.0, 60.0), _WAYS[way]
    load = pair.load(f"partition {way}", _LOAD)
    assert within(10, lambda: bool(pair.held_by("one")))
    begun = time.monotonic()
    pair.proxies["one"].conditions(up, down)
    avoided = within(cut_s, lambda: pair.avoids("one"))
    avoided_s = time.monotonic() - begun
    time.sleep(max(0.0, cut_s - (time.monotonic() - begun)))
    held = pair.held_by("one")
    pair.proxies["one"].conditions()
    back_s = pair.wait_ready(seconds=60)
    verdict = pair.judge(load, 60)
    others = {
        "cut s": cut_s,
        "acknowledged": verdict.acknowledged,
        "avoided after s": avoided_s,
        "leases left there": len(held),
        "back after s": back_s,
    }
    met = verdict.clean and avoided and avoided_s <= AVOIDED_S
    table.add(Row(f"partition: {way}", 1, "lost 0, duplicated 0, avoided within 5 s", met, verdict, others))
    assert verdict.clean, verdict.examples
    assert avoided
    assert avoided_s <= AVOIDED_S


@pytest.mark.soak
@pytest.mark.fault("blackout")
def test_sessions_survive_blackouts_of_two_seconds_every_five(tmp_path: Path, table: Table) -> None:
    """With the default times: two seconds are far from a lost lease."""
    with FaultGrid(tmp_path, DEFAULTS) as grid:
        names = ("one", "two")
        for name in names:
            grid.add_proxied(name)
        grid.wait_ready()
        sessions = {name: grid.session(name) for name in names}
        load = grid.load("blackout", _LOAD)
        for proxy in grid.proxies.values():
            proxy.follow(Schedule((Phase(3.0), Phase(2.0, BLACKHOLE, BLACKHOLE)), again=True))
        time.sleep(60)
        for proxy in grid.proxies.values():
            proxy.conditions()
        verdict = grid.judge(load, 90)
        kept = sum(grid.session(name) == before for name, before in sessions.items())
    met = verdict.clean and kept == len(sessions)
    others = {"acknowledged": verdict.acknowledged, "sessions kept of 2": kept}
    table.add(Row("blackout", 12, "lost 0, sessions kept", met, verdict, others))
    assert verdict.clean, verdict.examples
    assert kept == len(sessions)


@pytest.mark.fault("rebind")
def test_a_nat_that_forgets_moves_the_session_or_brings_it_back_within_five_seconds(
    pair: FaultGrid, form: Form, table: Table
) -> None:
    rebinds = form.pick(2, 20)
    load = pair.load("rebind", _LOAD)
    epochs = {name: worker["connected_since"] for name, worker in pair.listed().items()}
    back = []
    for _ in range(rebinds):
        time.sleep(0.5)
        for proxy in pair.proxies.values():
            proxy.rebind()
        begun = time.monotonic()
        time.sleep(0.3)
        assert within(20, lambda: pair.ready() and not any(pair.avoids(name) for name in pair.proxies))
        back.append(time.monotonic() - begun)
    kept = sum(pair.listed()[name]["connected_since"] == since for name, since in epochs.items())
    verdict = pair.judge(load, 60)
    others = {"acknowledged": verdict.acknowledged, "sessions kept of 2": kept, "ready max s": max(back)}
    met = verdict.clean and max(back) <= 5.0
    table.add(Row("rebind", rebinds * 2, "lost 0, same session or back within 5 s", met, verdict, others))
    assert verdict.clean, verdict.examples
    assert max(back) <= 5.0

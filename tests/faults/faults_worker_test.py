"""Workers die and freeze under load (R4, R5)."""

import random
import time

import pytest

from tests.faults.conftest import Form
from tests.faults.faultgrid import FaultGrid, within
from tests.faults.figures import Row, Table, percentile
from tests.faults.load import EVERY_KIND, Order

pytestmark = pytest.mark.sandbox

LEASE_S = 3.0
"""Of `faultgrid.SHORT`."""
MOVED_S = LEASE_S + 5.0
"""The table of promises allows five seconds beyond the lease."""
_LOAD = Order(submitters=3, open_jobs=6, job_s=0.2, kinds=EVERY_KIND, answer_words=30)


@pytest.mark.fault("worker_kill")
def test_a_killed_workers_jobs_go_elsewhere_and_nothing_of_it_is_left(
    pair: FaultGrid, form: Form, table: Table
) -> None:
    """In turn the whole machine and only the runner, whose supervisor starts it again. The next kill waits until what
    the last one hit is done, for a job that is hit three times is given up as poison, and a worker as sick."""
    kills, luck = form.pick(2, 50), random.Random(2)
    moved, left, quarantined = [], 0, 0
    load = pair.load("worker_kill", _LOAD)
    for number in range(kills):
        victim = pair.workers[luck.randrange(2)]
        time.sleep(luck.uniform(0.2, 1.0))
        held, session = pair.held_by(victim.name), pair.session(victim.name)
        begun = time.monotonic()
        if number % 2:
            victim.kill_runner()
        else:
            left += victim.kill()
            victim.start()
        assert within(MOVED_S + 10, lambda: pair.moved_on(held)), pair.last_words()  # noqa: B023
        moved += [time.monotonic() - begun] if held else []
        if form.soak or number == kills - 1:
            pair.wait_back(victim.name, session)
            assert within(90, pair.settled, 0.1), pair.last_words()
            quarantined += pair.heal()
    verdict = pair.judge(load, 60)
    others = {
        "acknowledged": verdict.acknowledged,
        "jobs moved p50 s": percentile(moved, 0.5),
        "jobs moved max s": max(moved, default=-1.0),
        "processes left": left,
        "quarantined": quarantined,
    }
    met = verdict.clean and max(moved, default=0.0) <= MOVED_S and not left
    table.add(Row("worker_kill", kills, f"lost 0, moved within lease + 5 s = {MOVED_S:g} s", met, verdict, others))
    assert verdict.clean, verdict.examples
    assert max(moved, default=0.0) <= MOVED_S
    assert left == 0


@pytest.mark.fault("worker_freeze")
def test_a_frozen_worker_is_avoided_and_what_it_says_afterwards_counts_for_nothing(
    pair: FaultGrid, form: Form, table: Table
) -> None:
    """Shorter and longer than the lease in turn; a result that comes after it is fenced."""
    freezes, luck = form.pick(1, 20), random.Random(3)
    avoided, moved, quarantined = [], [], 0
    load = pair.load("worker_freeze", _LOAD)
    for number in range(freezes):
        victim = pair.workers[luck.randrange(2)]
        time.sleep(luck.uniform(0.3, 1.0))
        victim.freeze()
        begun = time.monotonic()
        held = pair.held_by(victim.name)
        frozen_s = 1.5 if number % 2 else LEASE_S + 2
        if within(frozen_s, lambda: pair.avoids(victim.name)):  # noqa: B023
            avoided.append(time.monotonic() - begun)
        if frozen_s > LEASE_S:
            assert within(MOVED_S + 10, lambda: pair.moved_on(held)), pair.last_words()  # noqa: B023
            moved += [time.monotonic() - begun] if held else []
        time.sleep(max(0.0, frozen_s - (time.monotonic() - begun)))
        victim.thaw()
        pair.wait_ready(seconds=60)
        assert within(90, pair.settled, 0.1), pair.last_words()
        quarantined += pair.heal()
    verdict = pair.judge(load, 60)
    others = {
        "acknowledged": verdict.acknowledged,
        "seen frozen max s": max(avoided, default=-1.0),
        "jobs moved max s": max(moved, default=-1.0),
        "quarantined": quarantined,
    }
    met = verdict.clean and max(moved, default=0.0) <= MOVED_S
    table.add(Row("worker_freeze", freezes, f"lost 0, duplicated 0, moved within {MOVED_S:g} s", met, verdict, others))
    assert verdict.clean, verdict.examples
    assert max(moved, default=0.0) <= MOVED_S

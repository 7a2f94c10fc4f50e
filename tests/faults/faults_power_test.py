"""Power cuts, simulated: the store's own statements on a disk that forgets what was not flushed.

Every acknowledged job, and every acknowledged completion, is there when the power is back; the database is never
damaged. The control runs with `synchronous=NORMAL`, which does not flush at each commit: it must lose something, or
the simulation would show nothing.
"""

import asyncio
import random

import pytest

from tests.fakes.faulty_store import Acknowledged, keep_busy, new_disk, store_on, stored
from tests.fakes.power_disk import CutError
from tests.faults.conftest import Form
from tests.faults.figures import Row, Table

_CALLERS, _JOBS_EACH = 8, 6


def cut_at_random(seed: int, *pragmas: str) -> tuple[Acknowledged, dict[str, str]]:
    """What was acknowledged before the cut, and what is there after it."""
    chance = random.Random(seed)
    disk, told = new_disk(), Acknowledged()
    cut_at = chance.randint(1, 90)

    def cut(step: int, what: str, name: str) -> None:
        if step >= cut_at:
            raise CutError("the power is off")

    disk.before = cut
    checkpoints = f"PRAGMA wal_autocheckpoint={chance.choice((4, 16, 1000))}"

    async def until_cut() -> None:
        with store_on(disk, checkpoints, *pragmas) as store:
            await keep_busy(store, _CALLERS, _JOBS_EACH, told, give_up=True)
            await store.close()

    asyncio.run(until_cut())
    return told, stored(disk.after_cut(chance))


@pytest.mark.fault("power_cut")
def test_a_power_cut_loses_nothing_that_was_acknowledged(form: Form, table: Table) -> None:
    cuts = form.pick(40, 640)
    acknowledged, lost = 0, []
    for seed in range(cuts):
        told, there = cut_at_random(seed)
        acknowledged += len(told.jobs) + len(told.done)
        lost += told.lost(there)
    table.add(
        Row("power_cut", cuts, "lost 0, damaged 0", not lost, None, {"acknowledged": acknowledged, "lost": len(lost)})
    )
    assert lost == []
    assert acknowledged > 10 * cuts


@pytest.mark.fault("power_cut")
def test_without_a_flush_at_each_commit_a_power_cut_does_lose(form: Form, table: Table) -> None:
    cuts = form.pick(20, 640)
    lost = 0
    for seed in range(cuts):
        told, there = cut_at_random(seed, "PRAGMA synchronous=NORMAL")
        lost += len(told.lost(there))
    table.add(Row("power_cut: control", cuts, "must lose", lost > 0, None, {"lost": lost}))
    assert lost > 0

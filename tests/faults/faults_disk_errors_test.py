"""A write or flush of the store's disk fails, each one in turn (R3): full, an I/O error, a flush that loses its pages.

What is refused is refused as 507 or 503 would say it; what was acknowledged is there, also after a power cut that
follows at once; and the next job after the disk is well is taken without a restart.
"""

import asyncio
import random
from collections.abc import Callable

import apsw
import pytest

from coordinator.errors import StorageFullError, StoreUnavailableError
from tests.fakes.apsw_driver import disk_error
from tests.fakes.faulty_store import Acknowledged, keep_busy, new_disk, store_on, stored
from tests.fakes.power_disk import Disk
from tests.faults.conftest import Form
from tests.faults.figures import Row, Table

_CALLERS, _JOBS_EACH = 4, 5
_ILL_FOR = 3
"""How many steps of the disk fail, one after the other."""
_STEPS = 180
"""As many does a run without faults take, about."""
FAULTS: dict[str, tuple[str, int, type[Exception]]] = {
    "full": ("write", apsw.SQLITE_FULL, StorageFullError),
    "write": ("write", apsw.SQLITE_IOERR_WRITE, StoreUnavailableError),
    "flush": ("flush", apsw.SQLITE_IOERR_FSYNC, StoreUnavailableError),
    "truncate": ("truncate", apsw.SQLITE_IOERR_TRUNCATE, StoreUnavailableError),
}


def failing(disk: Disk, first: int, what: str, code: int) -> Callable[[int, str, str], None]:
    """From step `first` on, `_ILL_FOR` steps of the kind fail. A flush that fails has lost what waited, as on Linux."""
    left = _ILL_FOR

    def fail(step: int, kind: str, name: str) -> None:
        nonlocal left
        if step >= first and kind == what and left:
            left -= 1
            if kind == "flush":
                disk.files[name].waiting.clear()
            raise disk_error(code)

    return fail


async def run(disk: Disk, told: Acknowledged, refusal: type[Exception]) -> None:
    """Load while the disk fails; then more, which the same store takes."""
    with store_on(disk, "PRAGMA wal_autocheckpoint=8") as store:
        await keep_busy(store, _CALLERS, _JOBS_EACH, told, give_up=False)
        assert {type(error) for error in told.refusals} <= {refusal}
        healed = Acknowledged()
        for _ in range(_ILL_FOR + 1):
            await keep_busy(store, 1, 1, healed, give_up=True)
        assert healed.jobs, healed.refusals
        told.jobs += healed.jobs
        told.done += healed.done
        assert store.refusing() == ""


@pytest.mark.fault("disk_errors")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_at_any_step_costs_no_acknowledged_job_and_no_restart(
    fault: str, form: Form, table: Table
) -> None:
    what, code, refusal = FAULTS[fault]
    lost, refused, steps = [], 0, range(1, _STEPS, form.pick(9, 1))
    for first in steps:
        disk, told = new_disk(), Acknowledged()
        disk.before = failing(disk, first, what, code)
        asyncio.run(run(disk, told, refusal))
        refused += len(told.refusals)
        lost += told.lost(stored(disk.after_cut(random.Random(first))))
        lost += told.lost(stored({name: bytes(file.now) for name, file in disk.files.items()}))
    others = {"refused": refused, "lost": len(lost)}
    table.add(Row(f"disk_errors: {fault}", len(steps), "lost 0, goes on by itself", not lost, None, others))
    assert lost == []
    assert refused or fault == "truncate"

"""A quarantined worker as the admin sees it, and lets it out."""

import asyncio
import json
import subprocess
import sysconfig
from pathlib import Path

from coordinator.records import TokenRecord, WorkerRecord, WorkerStatus
from coordinator.state.folder import StateFolder
from coordinator.store.sqlite_store import SqliteStore
from gogrid.ids import JobId, WorkerId

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "gogrid-coordinator")
WHY = "3 jobs in a row crashed on it, the last one because: boom"


def admin(data: Path, *words: str) -> str:
    done = subprocess.run([PROGRAM, *words, "--data", str(data)], capture_output=True, text=True, check=True)
    return done.stdout


async def make_sick(data: Path) -> None:
    store = await SqliteStore.open(StateFolder(data).database)
    await store.add_token(TokenRecord("t" * 16, b"p", "lab", 1.0, 2e9, 1, 0, False, False))
    worker = WorkerRecord(WorkerId("wk_1"), "box", b"k" * 32, WorkerStatus.APPROVED, False, 0, 1.0, "t" * 16)
    await store.redeem("t" * 16, worker, 5.0)
    await store.set_worker_health(worker.id, (JobId("job_a"), JobId("job_b")), WHY)
    await store.close()


def test_the_admin_sees_why_a_worker_is_quarantined_and_releases_it(tmp_path: Path) -> None:
    data = tmp_path / "state"
    admin(data, "init")
    asyncio.run(make_sick(data))
    assert f"approved, quarantined: {WHY}" in admin(data, "worker", "list")
    assert admin(data, "worker", "release", "box") == "box (wk_1) is approved now.\n"
    assert admin(data, "worker", "approve", "box") == "box (wk_1) was approved already.\n"
    (listed,) = json.loads(admin(data, "worker", "list", "--json"))
    assert listed["quarantined"] == ""
    again = subprocess.run([PROGRAM, "worker", "release", "box", "--data", str(data)], capture_output=True, check=False)
    assert (again.returncode, again.stderr) == (
        1,
        b"gogrid-coordinator: box is not in quarantine; nothing was changed.\n",
    )

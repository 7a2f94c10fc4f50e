"""`kill -9` at any moment loses no job that was acknowledged."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from coordinator.store.sqlite_store import SqliteStore

_SUBMIT_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from coordinator.records import JobKind, NewJob
from coordinator.store.sqlite_store import SqliteStore
from gogrid.ids import KeyId, new_job_id
from gogrid.protocol.tasks import PythonTask
async def client(store):
    while True:
        new = NewJob(new_job_id(), KeyId("k"), JobKind.PYTHON, PythonTask(files=(), entry="a.py"), "a.py", 1.0)
        job, _ = await store.submit(new)
        print(job.id, flush=True)
async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    await asyncio.gather(*(client(store) for _ in range(16)))
asyncio.run(main())
"""


def acknowledged_before_kill(path: Path, count: int) -> list[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _SUBMIT_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    with process.stdout as lines:
        acknowledged = [next(lines).strip() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in lines if line.endswith("\n")]
    process.wait(10)
    return acknowledged


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    acknowledged: list[str] = []
    for count in (1, 40, 150, 333):
        acknowledged += acknowledged_before_kill(path, count)

    async def stored() -> list[str]:
        store = await SqliteStore.open(path)
        jobs = await store.recover()
        await store.close()
        return [job.id for job in jobs]

    found = asyncio.run(stored())
    assert len(acknowledged) >= 524
    assert set(acknowledged) <= set(found)
    assert len(set(found)) == len(found)

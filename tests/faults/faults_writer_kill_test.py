"""`kill -9` of the process that writes, at any moment, under group commit: nothing acknowledged is lost (R1).

The client's log is what came out of a pipe: a line that arrived is an acknowledgement that somebody has seen.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.conftest import Form
from tests.faults.figures import Row, Table

_SUBMIT_FOR_EVER = """
import asyncio, os, sys
from pathlib import Path
from coordinator.records import JobKind, JobOutcome, JobState, NewJob
from coordinator.store.sqlite_store import SqliteStore
from gogrid.ids import KeyId, WorkerId, new_job_id
from gogrid.protocol.tasks import PythonTask
ANNA = WorkerId("wk_anna")
DONE = JobOutcome(JobState.DONE, b"")
async def client(store):
    while True:
        new = NewJob(new_job_id(), KeyId("k"), JobKind.PYTHON, PythonTask(files=(), entry="a.py"), "a.py", 1.0)
        await store.submit(new)
        os.write(1, f"job {new.id}\\n".encode())
        epoch = await store.claim(new.id, ANNA)
        await store.complete(new.id, epoch, ANNA, DONE, 2.0)
        os.write(1, f"done {new.id}\\n".encode())
async def main(path):
    store = await SqliteStore.open(path)
    await asyncio.gather(*(client(store) for _ in range(32)))
while True:
    path = Path(sys.stdin.readline().strip())
    if os.fork() == 0:
        os.write(1, f"pid {os.getpid()}\\n".encode())
        asyncio.run(main(path))
    os.wait()
    os.write(1, b"killed\\n")
"""


def killed_after(process: "subprocess.Popen[str]", path: Path, count: int) -> list[str]:
    """The acknowledgements that came out of a writer which was killed after `count` of them."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{path}\n")
    process.stdin.flush()
    pid = int(process.stdout.readline().split()[1])
    seen = [process.stdout.readline() for _ in range(count)]
    os.kill(pid, signal.SIGKILL)
    for line in process.stdout:
        if line == "killed\n":
            break
        seen.append(line)
    return [line.strip() for line in seen]


@pytest.mark.fault("writer_kill")
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, form: Form, table: Table) -> None:
    kills, chance = form.pick(8, 100), random.Random(1)
    path, told = tmp_path / "x.db", set[str]()
    with subprocess.Popen(
        [sys.executable, "-c", _SUBMIT_FOR_EVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for _ in range(kills):
            told.update(killed_after(process, path, chance.randint(1, 400)))
        process.kill()
    with closing(sqlite3.connect(path)) as database:
        stored = dict(database.execute("SELECT id, state FROM job"))
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    jobs = {line.split()[1] for line in told}
    done = {line.split()[1] for line in told if line.startswith("done")}
    lost = [job for job in jobs if job not in stored] + [job for job in done if stored.get(job) != "done"]
    others = {"acknowledged": len(told), "lost": len(lost), "there, unacknowledged": len(stored) - len(jobs)}
    table.add(Row("writer_kill", kills, "lost 0", not lost, None, others))
    assert lost == []
    assert len(told) > 50 * kills

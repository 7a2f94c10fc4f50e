"""What is forgotten, and above all what is not."""

import os
from pathlib import Path

import msgspec

from coordinator.records import JobKind, JobOutcome, JobState, LeaseEnd, NewJob
from coordinator.state.blobs import BlobStore
from coordinator.state.retention import DEAD_KEPT_S, tidy
from coordinator.store.sqlite_store import SqliteStore
from gogrid.ids import JobId, KeyId, WorkerId
from gogrid.protocol.job_messages import OutputFile, PythonDone, PythonEnd
from gogrid.protocol.tasks import InputFile, PythonTask

NOW = 1_000_000.0


async def test_only_old_blobs_that_nothing_names_are_removed(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    model, given, made, orphan = (blobs.put_bytes(name.encode()) for name in ("model", "in", "out", "orphan"))
    for blob in (model, given, made, orphan):
        os.utime(tmp_path / "blobs" / blob.sha256[:2] / blob.sha256, (NOW - 7200, NOW - 7200))
    young = blobs.put_bytes(b"just being submitted")
    os.utime(tmp_path / "blobs" / young.sha256[:2] / young.sha256, (NOW, NOW))
    store = await SqliteStore.open(tmp_path / "coordinator.db")
    task = PythonTask(files=(InputFile(name="in", sha256=given.sha256, size=2),), entry="main.py")
    job = NewJob(JobId("j"), KeyId("k"), JobKind.PYTHON, task, "main.py", NOW - 100)
    await store.submit(job)
    epoch = await store.claim(job.id, WorkerId("w"))
    assert epoch is not None
    done = PythonDone(exit_code=0, ended=PythonEnd.OK, files=(OutputFile(name="out", sha256=made.sha256, size=3),))
    outcome = JobOutcome(JobState.DONE, result=msgspec.msgpack.encode(done))
    await store.complete(job.id, epoch, WorkerId("w"), outcome, NOW - 50)

    assert await tidy(store, blobs, frozenset({model.sha256}), NOW, keep_jobs_s=3600) == 1
    assert set(blobs.digests()) == {blob.sha256 for blob in (model, given, made, young)}

    assert await tidy(store, blobs, frozenset({model.sha256}), NOW, keep_jobs_s=10) == 2
    assert set(blobs.digests()) == {model.sha256, young.sha256}
    await store.close()


async def test_a_dead_job_is_kept_for_two_weeks_however_short_others_are_kept(tmp_path: Path) -> None:
    blobs, store = BlobStore(tmp_path / "blobs"), await SqliteStore.open(tmp_path / "coordinator.db")
    job = NewJob(JobId("j"), KeyId("k"), JobKind.PYTHON, PythonTask(files=(), entry="main.py"), "main.py", 0.0)
    await store.submit(job, WorkerId("w"))
    await store.bury(job.id, 1, LeaseEnd.CRASHED, "boom", JobOutcome(JobState.DEAD), NOW)
    await tidy(store, blobs, frozenset(), NOW + DEAD_KEPT_S - 1, keep_jobs_s=10)
    assert await store.job(job.id) is not None
    await tidy(store, blobs, frozenset(), NOW + DEAD_KEPT_S + 1, keep_jobs_s=10)
    assert await store.job(job.id) is None
    await store.close()

"""Rows and small steps for the tests of stores."""

from collections.abc import Awaitable, Callable

import msgspec

from coordinator.records import (
    JobKind,
    JobOutcome,
    JobState,
    LeaseEnd,
    ModelKind,
    ModelRecord,
    NewJob,
    TokenRecord,
    WorkerRecord,
    WorkerStatus,
)
from coordinator.store.base import Store
from gogrid.ids import JobId, KeyId, Sha256, WorkerId, new_job_id, new_worker_id
from gogrid.protocol.job_messages import PythonDone, PythonEnd
from gogrid.protocol.tasks import InputFile, PythonTask

ANNA, BERT = WorkerId("wk_anna"), WorkerId("wk_bert")
DONE = JobOutcome(JobState.DONE, msgspec.msgpack.encode(PythonDone(exit_code=0, ended=PythonEnd.OK)))
Reopen = Callable[[], Awaitable[Store]]


def make_token(
    token_id: str = "t" * 16, uses: int = 1, expires_at: float = 1000.0, revoked: bool = False
) -> TokenRecord:
    return TokenRecord(token_id, b"p" * 32, "lab", 1.0, expires_at, uses, 0, False, revoked)


def make_worker(key: bytes = b"w" * 32, token_id: str = "t" * 16) -> WorkerRecord:
    return WorkerRecord(new_worker_id(), "box", key, WorkerStatus.APPROVED, False, 0, 5.0, token_id)


def make_job(owner: str = "key_1", key: str | None = None, body: str = "") -> NewJob:
    task = PythonTask(files=(InputFile(name="a.py", sha256=Sha256("0" * 64), size=3),), entry="a.py")
    return NewJob(new_job_id(), KeyId(owner), JobKind.PYTHON, task, "a.py", 10.0, key, body)


def make_model(name: str = "smol", digest: str = "a" * 64) -> ModelRecord:
    return ModelRecord(name, Sha256(digest), ModelKind.CHAT, "torch", 10, 20, 4096, 0, 1.0)


async def leased(store: Store, worker: WorkerId = ANNA) -> tuple[JobId, int]:
    job, _ = await store.submit(make_job())
    epoch = await store.claim(job.id, worker)
    assert epoch is not None
    return job.id, epoch


async def give_back(store: Store, job_id: JobId, epoch: int, end: LeaseEnd = LeaseEnd.VANISHED) -> bool:
    return await store.give_back(job_id, epoch, end, "it vanished", 12.0)

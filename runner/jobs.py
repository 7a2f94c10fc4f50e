"""The jobs that this worker has: those that run, and durable ones that have ended and are not settled yet.

Promises: a lease is held from its assignment until its job has ended and, where it is durable, until the coordinator
keeps its end; a job that is ended from outside tells its stream so, or nobody, and its place is free at once. Which job
begins and ends when, `work.py` says.
"""

import asyncio
from dataclasses import dataclass

from gogrid.ids import JobId, Sha256
from gogrid.protocol.job_messages import Failed, Finished
from gogrid.protocol.messages import Assign, LeaseHeld
from gogrid.protocol.tasks import PythonTask
from runner.link.kept_stream import KeptStream
from runner.session import JobStream


@dataclass(slots=True, eq=False)
class Job:
    assign: Assign
    stream: JobStream
    since: float
    """Monotonic seconds."""
    task: asyncio.Task[None] | None = None

    @property
    def lease(self) -> LeaseHeld:
        return LeaseHeld(job_id=self.assign.job_id, epoch=self.assign.epoch)

    @property
    def kept(self) -> KeptStream | None:
        """The stream of a durable job."""
        return self.stream if isinstance(self.stream, KeptStream) else None

    @property
    def script(self) -> PythonTask | None:
        """None: it is a request for a model."""
        return self.assign.task if isinstance(self.assign.task, PythonTask) else None

    @property
    def model(self) -> Sha256 | None:
        """None: it is a script."""
        return None if isinstance(self.assign.task, PythonTask) else self.assign.task.model.digest


class Jobs:
    """Use from one event loop."""

    def __init__(self) -> None:
        self._running: dict[JobId, Job] = {}
        self._unsettled: dict[JobId, KeptStream] = {}
        """Durable jobs that have ended here, until the coordinator keeps their end."""
        self._settled = asyncio.Event()

    @property
    def running(self) -> tuple[Job, ...]:
        return tuple(self._running.values())

    @property
    def scripts(self) -> tuple[tuple[Job, PythonTask], ...]:
        """Of those that run."""
        return tuple((job, job.script) for job in self._running.values() if job.script is not None)

    @property
    def leases(self) -> tuple[LeaseHeld, ...]:
        return (*(job.lease for job in self._running.values()), *(kept.lease for kept in self._unsettled.values()))

    @property
    def kept_streams(self) -> tuple[KeptStream, ...]:
        running = (job.kept for job in self._running.values() if job.kept is not None)
        return (*running, *self._unsettled.values())

    def add(self, job: Job) -> None:
        self._running[job.assign.job_id] = job

    def find(self, job_id: JobId, epoch: int) -> Job | None:
        """That runs."""
        job = self._running.get(job_id)
        return job if job is not None and job.assign.epoch == epoch else None

    def end(self, job: Job, last_word: Finished | Failed | None) -> None:
        """End it now. Without a last word nobody is told: the lease is not ours."""
        if last_word is not None:
            job.stream.send(last_word)
        else:
            job.stream.abandon()
        self.leave(job)
        if job.task is not None:
            job.task.cancel()

    def leave(self, job: Job) -> None:
        """It runs no more; if it is durable, its end is kept."""
        if self._running.get(job.assign.job_id) is not job:
            return
        del self._running[job.assign.job_id]
        if job.kept is not None and job.kept.outcome is not None:
            self._unsettled[job.assign.job_id] = job.kept

    def forget(self, job_id: JobId) -> None:
        """Whatever is held of this job is not ours any more."""
        if job_id in self._running:
            self.end(self._running[job_id], None)
        self._unsettled.pop(job_id, None)
        if not self._unsettled:
            self._settled.set()

    def settled(self, lease: LeaseHeld) -> None:
        """The coordinator keeps this job's end, or wants it no more."""
        kept = self._unsettled.get(lease.job_id)
        if kept is not None and kept.epoch == lease.epoch:
            self.forget(lease.job_id)

    async def wait_settled(self) -> None:
        """Until the coordinator keeps every end that was told."""
        if self._unsettled:
            self._settled.clear()
            await self._settled.wait()

"""What one simulated worker does with its jobs: the echo engine for model tasks, nothing for Python tasks.

Implements `runner.session.SessionHandler`. Promises: every lease ends with `Finished` or `Failed` unless it is
cancelled or lost; nothing here ever blocks, whatever delays a task asks the echo engine for.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gogrid.ids import JobId, Sha256
from gogrid.protocol.job_messages import Failed, Finished, PythonDone, PythonEnd, Started
from gogrid.protocol.messages import Assign, Cancel, Drain, LeaseHeld, Welcome
from gogrid.protocol.tasks import PythonTask
from gogrid.protocol.worker_report import Device, DeviceKind, LoadedModel, Readiness, WorkerReport
from runner.errors import JobError
from runner.executor.engines.echo import EchoEngine
from runner.executor.messages import Load
from runner.session import JobStream

_CORES = 32
"""More than the jobs one connection may carry, so that Python tasks wait for nothing."""
_MEMORY = 1 << 40
_PYTHON_DONE = Finished(result=PythonDone(exit_code=0, ended=PythonEnd.OK))


@dataclass(slots=True)
class _Job:
    number: int
    lease: LeaseHeld
    stream: JobStream


class EchoWork:
    def __init__(self, name: str, step_s: float, slots: int) -> None:
        """Args: step_s: one token of every request each so many seconds; 0: as fast as it goes."""
        self._name, self._step_s, self._slots = name, step_s, slots
        self._engine = EchoEngine(
            Load(engine="echo", model_path="", device=DeviceKind.CPU, threads=1, cap_bytes=_MEMORY), self._asked_to_wait
        )
        self._wait_s = 0.0
        self._jobs: dict[JobId, _Job] = {}
        self._by_number: dict[int, _Job] = {}
        self._loaded: dict[Sha256, LoadedModel] = {}
        self._number = 0
        self._draining = ""
        self._tell: Callable[[WorkerReport], None] = lambda report: None
        self._stepping: asyncio.Handle | None = None
        self.connected = False
        self.sessions = 0
        self.answered = 0

    def use(self, tell: Callable[[WorkerReport], None]) -> None:
        """Report through this from now on; see `runner.link.coordinator_link.CoordinatorLink.report`."""
        self._tell = tell
        tell(self._report())

    # SessionHandler

    def welcomed(self, welcome: Welcome) -> None:
        self.connected = True
        self.sessions += 1

    def assigned(self, assign: Assign, stream: JobStream) -> None:
        self._forget(assign.job_id)
        if isinstance(assign.task, PythonTask):
            stream.send(Started(device="nothing"))
            stream.send(_PYTHON_DONE)
            self.answered += 1
            return
        self._number += 1
        job = _Job(self._number, LeaseHeld(job_id=assign.job_id, epoch=assign.epoch), stream)
        try:
            self._engine.submit(job.number, assign.task)
        except JobError as error:
            stream.send(Failed(code=error.code, message=str(error), param=error.param))
            self.answered += 1
            return
        self._jobs[assign.job_id] = self._by_number[job.number] = job
        self._has_loaded(assign.task.model.digest)
        self._step_in(self._step_s)

    def cancelled(self, cancel: Cancel) -> None:
        self._forget(cancel.job_id)

    def drain(self, drain: Drain) -> None:
        self._draining = drain.reason if drain.on else ""
        self._tell(self._report())

    def lost(self, leases: tuple[LeaseHeld, ...]) -> None:
        for lease in leases:
            self._forget(lease.job_id)

    def renewed(self, sent_at: float) -> None:
        """Nothing here outlives a connection, so there is nothing to fence."""

    def settled(self, leases: tuple[LeaseHeld, ...]) -> None:
        """An end is told once: a job whose end was lost with the connection runs again, at no cost."""

    def held(self) -> tuple[LeaseHeld, ...]:
        return tuple(job.lease for job in self._jobs.values())

    def disconnected(self, reason: str) -> None:
        self.connected = False
        for job_id in list(self._jobs):
            self._forget(job_id)

    # the engine

    def _step_in(self, seconds: float) -> None:
        if self._stepping is None:
            loop = asyncio.get_running_loop()
            self._stepping = loop.call_later(seconds, self._step) if seconds else loop.call_soon(self._step)

    def _step(self) -> None:
        self._stepping = None
        self._wait_s = self._step_s
        while self._engine.busy:
            for item in self._engine.step():
                job = self._by_number.get(item.request)
                if job is None:
                    continue
                job.stream.send(item.message)
                if isinstance(item.message, Finished | Failed):
                    self.answered += 1
                    self._forget(job.lease.job_id)
            if self._wait_s:
                break
        if self._engine.busy:
            self._step_in(self._wait_s)

    def _asked_to_wait(self, seconds: float) -> None:
        self._wait_s = max(self._wait_s, seconds)

    def _forget(self, job_id: JobId) -> None:
        job = self._jobs.pop(job_id, None)
        if job is not None:
            self._by_number.pop(job.number, None)
            self._engine.abort(job.number)

    # what it says of itself

    def _has_loaded(self, digest: Sha256) -> None:
        if digest not in self._loaded:
            self._loaded[digest] = LoadedModel(digest=digest, memory_bytes=0, running=0, slots=self._slots)
            self._tell(self._report())

    def _report(self) -> WorkerReport:
        return WorkerReport(
            software="gogrid/simulated",
            hostname=self._name,
            platform="linux-x86_64",
            readiness=Readiness.DRAINING if self._draining else Readiness.READY,
            reason=self._draining or "ready",
            devices=(
                Device(kind=DeviceKind.CPU, name="simulated", memory_bytes=_MEMORY, cap_bytes=_MEMORY, why="simulated"),
            ),
            engines=("echo",),
            sandbox="none: a simulated worker runs nothing",
            python_jobs=True,
            loaded=tuple(self._loaded.values()),
            cores=_CORES,
        )

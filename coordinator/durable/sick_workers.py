"""Keeps every worker's health on disk and in the directory, and shuts sick ones out: the shell of `health.py`.

All that vanishes with one session of a worker counts as one crash of it.
"""

import asyncio
import logging
from collections.abc import Callable

from coordinator.directory import Directory
from coordinator.durable.health import WorkerHealth, absolved, after_crash, after_success
from coordinator.errors import CoordinatorError
from gogrid.ids import JobId, WorkerId

log = logging.getLogger(__name__)


class SickWorkers:
    def __init__(self, directory: Directory, quarantine: Callable[[WorkerId, str], None]) -> None:
        """`quarantine` is told which worker gets nothing from now on, and why."""
        self._directory = directory
        self._quarantine = quarantine
        self._vanished: dict[WorkerId, int] = {}
        """The session of each worker that a vanished lease was last counted for."""
        self._writing: set[asyncio.Task[None]] = set()

    def crashed(self, worker_id: WorkerId, job_id: JobId, why: str, *, vanished: bool) -> None:
        record = self._directory.worker(worker_id)
        if record is None or (vanished and self._vanished.get(worker_id) == record.session_epoch):
            return
        if vanished:
            self._vanished[worker_id] = record.session_epoch
        before = WorkerHealth(record.crashed_jobs, record.quarantined)
        health = after_crash(before, job_id, why)
        if health.quarantined and not before.quarantined:
            log.error("worker %s (%s) is quarantined: %s", record.name, worker_id, health.quarantined)
            self._quarantine(worker_id, health.quarantined)
        self._keep(worker_id, before, health)

    def crashed_elsewhere(self, job_id: JobId) -> None:
        """The job is to blame, not the workers on which it crashed."""
        for record in self._directory.workers():
            if job_id in record.crashed_jobs:
                before = WorkerHealth(record.crashed_jobs, record.quarantined)
                self._keep(record.id, before, absolved(before, job_id))

    def finished(self, worker_id: WorkerId) -> None:
        record = self._directory.worker(worker_id)
        if record is not None and record.crashed_jobs:
            before = WorkerHealth(record.crashed_jobs, record.quarantined)
            self._keep(worker_id, before, after_success(before))

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=5)

    def _keep(self, worker_id: WorkerId, before: WorkerHealth, health: WorkerHealth) -> None:
        if health != before:
            self._directory.know_health(worker_id, health.crashed_jobs, health.quarantined)
            task = asyncio.get_running_loop().create_task(self._write(worker_id, health))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _write(self, worker_id: WorkerId, health: WorkerHealth) -> None:
        try:
            await self._directory.store_health(worker_id, health.crashed_jobs, health.quarantined)
        except CoordinatorError as error:
            log.error("the health of worker %s could not be stored: %s", worker_id, error)

"""What a durable job needs of a worker. Pure."""

from typing import Protocol

from coordinator.dispatch.fitting import length_bytes
from coordinator.dispatch.placement import GPU, Need
from coordinator.records import ModelRecord
from gogrid.ids import JobId, KeyId, Sha256
from gogrid.protocol.tasks import PythonTask, Task


class Models(Protocol):
    """What durable jobs ask of the catalogue."""

    def with_digest(self, digest: Sha256) -> ModelRecord:
        """Raises `UnknownModelError`."""


def need_of(job_id: JobId, owner: KeyId, task: Task, priority: int, models: Models) -> Need:
    """Raises `UnknownModelError`."""
    if isinstance(task, PythonTask):
        engine, memory_bytes, cores = GPU if task.gpu else "", task.limits.memory_bytes, task.limits.cpu_cores
        return Need(job_id, None, engine, memory_bytes, cores, owner=owner, priority=priority)
    model = models.with_digest(task.model.digest)
    length = length_bytes(model, task)
    memory_bytes = model.memory_bytes + length
    return Need(job_id, model.digest, model.engine, memory_bytes, owner=owner, priority=priority, length_bytes=length)

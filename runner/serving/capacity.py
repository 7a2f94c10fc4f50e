"""What the worker takes. Pure: sizes are given. Which loaded models give way to others is `models/residence.py`.

Promises: scripts never get more than the owner lends; a script with the GPU has it alone; every refusal says why in
words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gogrid.ids import Sha256
from gogrid.protocol.tasks import PythonTask, Task
from gogrid.protocol.worker_report import Readiness
from gogrid.sizes import format_size


@dataclass(frozen=True, slots=True)
class ScriptRoom:
    """What scripts may use together, and what running ones hold of it."""

    memory_bytes: int
    memory_held: int
    cores: int
    cores_held: float


@dataclass(frozen=True, slots=True)
class Situation:
    readiness: Readiness
    reason: str
    python_jobs: bool
    device_cap: int
    scripts: ScriptRoom
    refused: Mapping[Sha256, str] = field(default_factory=dict)
    """Models that are not taken for a while, and why."""
    running: Sequence[Task] = ()
    gpu_scripts: bool = False
    """The owner lends the GPU to scripts that ask for it."""


def refusal(task: Task, now: Situation) -> str:
    """Why this worker does not take the task, in words; empty: it does."""
    if now.readiness is not Readiness.READY:
        return now.reason
    gpu_script = any(isinstance(running, PythonTask) and running.gpu for running in now.running)
    if not isinstance(task, PythonTask):
        if gpu_script:
            return "its GPU is lent to a script"
        if task.model.digest in now.refused:
            return f"it refuses this model for now: {now.refused[task.model.digest]}"
        return "" if now.device_cap > 0 else "its owner lends no memory for models"
    if not now.python_jobs:
        return "its sandbox is not complete enough for scripts"
    if task.gpu and not now.gpu_scripts:
        return "it lends its GPU to models only, not to scripts"
    if task.gpu and (gpu_script or not all(isinstance(running, PythonTask) for running in now.running)):
        return "its GPU is at work"
    limits, room = task.limits, now.scripts
    free = room.memory_bytes - room.memory_held
    if limits.memory_bytes > free:
        return f"the script needs {format_size(limits.memory_bytes)} of memory and {format_size(max(0, free))} is free"
    if limits.cpu_cores > room.cores - room.cores_held:
        return f"the script needs {limits.cpu_cores:g} cores and {max(0.0, room.cores - room.cores_held):g} are free"
    return ""


def beyond(scripts: Sequence[tuple[float, int]], lent: int) -> tuple[int, ...]:
    """Which scripts have to end because the owner lends less than they may use together: the youngest, by their place.

    Args:
        scripts: when each one began, and the bytes that it may use.
    """
    excess = sum(memory for _, memory in scripts) - lent
    ends: list[int] = []
    for place in sorted(range(len(scripts)), key=lambda place: -scripts[place][0]):
        if excess > 0:
            ends.append(place)
            excess -= scripts[place][1]
    return tuple(ends)


def grant(need: int, free: int) -> int:
    """What one model may use of the `free` bytes: room to serve many at once, and a rest for a second model."""
    return max(min(free, 2 * need), free // 2)

"""What the worker takes, and which loaded models give way to others. Pure: sizes and times are given.

Promises: the owner's cap is never promised twice; a model in use is never closed; every refusal says why in words.
"""

from dataclasses import dataclass

from gogrid.ids import Sha256
from gogrid.protocol.messages import FailCode, Readiness
from gogrid.protocol.tasks import PythonTask, Task
from gogrid.sizes import format_size
from runner.errors import ModelError


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that is loaded or on its way into memory."""

    digest: Sha256
    memory_bytes: int
    users: int
    """Requests that run or wait for it."""
    last_used: float
    """Monotonic seconds."""


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


def refusal(task: Task, now: Situation) -> str:
    """Why this worker does not take the task, in words; empty: it does."""
    if now.readiness is not Readiness.READY:
        return now.reason
    if not isinstance(task, PythonTask):
        return "" if now.device_cap > 0 else "its owner lends no memory for models"
    if not now.python_jobs:
        return "its sandbox is not complete enough for scripts"
    if task.gpu:
        return "it lends its GPU to models only, not to scripts"
    limits, room = task.limits, now.scripts
    free = room.memory_bytes - room.memory_held
    if limits.memory_bytes > free:
        return f"the script needs {format_size(limits.memory_bytes)} of memory and {format_size(max(0, free))} is free"
    if limits.cpu_cores > room.cores - room.cores_held:
        return f"the script needs {limits.cpu_cores:g} cores and {max(0.0, room.cores - room.cores_held):g} are free"
    return ""


def make_way(residents: tuple[Resident, ...], need: int, cap: int, held: int) -> tuple[Sha256, ...]:
    """The unused models to close, longest unused first, so that `need` bytes fit.

    Args:
        cap: what models and scripts on this device may use together.
        held: what scripts hold of it.

    Raises:
        ModelError: with `NO_ROOM`; it does not fit now, or never.
    """
    if need > cap:
        raise ModelError(
            f"The model needs {format_size(need)} and this worker lends {format_size(cap)}.", FailCode.NO_ROOM
        )
    free = cap - held - sum(resident.memory_bytes for resident in residents)
    closing: list[Sha256] = []
    for resident in sorted(residents, key=lambda resident: resident.last_used):
        if free >= need:
            break
        if resident.users == 0:
            closing.append(resident.digest)
            free += resident.memory_bytes
    if free < need:
        raise ModelError(
            f"The model needs {format_size(need)} and {format_size(max(0, free))} is free while others are in use.",
            FailCode.NO_ROOM,
        )
    return tuple(closing)


def grant(need: int, free: int) -> int:
    """What one model may use of the `free` bytes: room to serve many at once, and a rest for a second model."""
    return max(min(free, 2 * need), free // 2)


def unused(residents: tuple[Resident, ...], now: float, idle_s: float) -> tuple[Sha256, ...]:
    """The models that nobody wanted for `idle_s` seconds."""
    return tuple(r.digest for r in residents if r.users == 0 and now - r.last_used >= idle_s)

"""How much GPU memory each process of this machine holds: the seam between a driver and the memory guard.

Implementations pass `tests/conformance/gpu_memory_suite.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from runner.errors import RunnerError


class GpuUnreadableError(RunnerError):
    """The driver does not say who holds the GPU's memory; says why."""


@dataclass(frozen=True, slots=True)
class GpuUse:
    """One look at the GPUs that are lent, taken together."""

    total_bytes: int
    used_bytes: int
    """Held by anybody."""
    by_pid: Mapping[int, int | None]
    """Bytes of each process that holds any, by its process id on the host; None: the driver does not tell how many."""


class GpuMemory(Protocol):
    """May block for milliseconds: call it off the event loop, from one thread at a time."""

    def look(self) -> GpuUse:
        """Raises `GpuUnreadableError`."""

    def close(self) -> None:
        """Let the driver rest until the next look; safe at any time."""

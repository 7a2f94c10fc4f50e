"""What the probes saw, as the gates take it. None everywhere: this machine does not show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OwnerSeen:
    """One quick look at what the owner does."""

    at: float
    """When, in monotonic seconds."""
    idle_s: float
    """Since the last use of keyboard, mouse or gamepad."""


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """One look at everything else."""

    screen_kept_on: bool | None = None
    """By a program that plays a video, shows slides, or is in a call."""
    fullscreen: bool | None = None
    on_battery: bool | None = None
    programs: frozenset[str] | None = None
    """Those of the exclusive ones that run, as their owner wrote them."""
    others_gpu: float | None = None
    others_gpu_memory: float | None = None
    others_cpu: float | None = None
    """Shares, 0 to 1, that programs which are not ours use."""
    temperatures: Mapping[str, float] = field(default_factory=dict)
    """°C by the part's name: `GPU`, `processor`."""

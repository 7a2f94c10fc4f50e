"""What to write into a control group so that the kernel enforces a sandbox's limits: a pure function.

One table for each version of control groups. A setting that is not needed is one that some kernels lack, and without
which the limit still holds.
"""

from dataclasses import dataclass
from typing import Literal

Version = Literal[1, 2]

_PERIOD_US = 100_000
_SHARES_OF_WEIGHT_100 = 1024
_TCP_BYTES = 16 << 20
"""For connections between the processes of one sandbox."""
_LEAST_QUOTA_US = 1000
"""The kernel's own bound."""


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """Of all processes of one sandbox together."""

    processes: int
    memory_bytes: int | None
    cpu_cores: float | None
    cpu_weight: int
    """Where an ordinary group has 100."""
    threads: int = 1
    """How many it keeps busy. Version 1 usually weighs our group against single threads beside it."""


@dataclass(frozen=True, slots=True)
class Setting:
    file: str
    value: str
    needed: bool = True


def settings(version: Version, controller: str, limits: GroupLimits) -> tuple[Setting, ...]:
    """What `controller` is told, in this order; nothing for a controller or a limit that does not concern us."""
    if controller == "pids":
        return (Setting("pids.max", str(limits.processes)),)
    if controller == "memory":
        return _memory(version, limits.memory_bytes)
    if controller == "cpu":
        return _cpu(version, limits)
    return ()


def _memory(version: Version, amount: int | None) -> tuple[Setting, ...]:
    """No swap: what is pushed out of memory would only make the owner's disk busy."""
    if version == 2:
        whole = (Setting("memory.oom.group", "1", needed=False), Setting("memory.swap.max", "0", needed=False))
        return whole if amount is None else (*whole, Setting("memory.max", str(amount)))
    if amount is None:
        return ()
    # In this order, because memory with swap may not be less than without.
    return (
        Setting("memory.limit_in_bytes", str(amount)),
        Setting("memory.memsw.limit_in_bytes", str(amount), needed=False),
        # Version 2 counts the buffers of connections with the rest.
        Setting("memory.kmem.tcp.limit_in_bytes", str(min(amount, _TCP_BYTES)), needed=False),
    )


def _cpu(version: Version, limits: GroupLimits) -> tuple[Setting, ...]:
    quota = None if limits.cpu_cores is None else max(_LEAST_QUOTA_US, round(limits.cpu_cores * _PERIOD_US))
    if version == 2:
        weight = Setting("cpu.weight", str(limits.cpu_weight))
        return (weight,) if quota is None else (weight, Setting("cpu.max", f"{quota} {_PERIOD_US}"))
    shares = Setting("cpu.shares", str(max(2, limits.threads * limits.cpu_weight * _SHARES_OF_WEIGHT_100 // 100)))
    if quota is None:
        return (shares,)
    return (shares, Setting("cpu.cfs_period_us", str(_PERIOD_US)), Setting("cpu.cfs_quota_us", str(quota)))

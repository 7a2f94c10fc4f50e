"""Cores and memory that this process may really use: CPU affinity and control groups count, not the data sheet."""

import math
import os
import platform
from pathlib import Path

import psutil

from runner.probes.base import Cpu

_CGROUP_ROOT = Path("/sys/fs/cgroup")


def probe_cpu() -> Cpu:
    installed = psutil.cpu_count(logical=True) or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else installed
    quota = cpu_quota(_CGROUP_ROOT)
    cores = max(1, min(allowed, math.floor(quota) if quota is not None else allowed))
    ram = psutil.virtual_memory().total
    group = memory_limit(_CGROUP_ROOT)
    memory = min(ram, group) if group is not None else ram
    held = [f"{cores} of {installed} cores"] if cores < installed else []
    held += ["a control group's memory limit"] if memory < ram else []
    return Cpu(_name(), cores, memory, " and ".join(held))


def cpu_quota(root: Path) -> float | None:
    """Cores granted by the control group mounted at `root`, version 2 or 1; None: no limit."""
    words = _read(root / "cpu.max").split()
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
        return int(words[0]) / max(1, int(words[1]))
    quota, period = _read(root / "cpu" / "cpu.cfs_quota_us"), _read(root / "cpu" / "cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(quota) > 0:
        return int(quota) / max(1, int(period))
    return None


def memory_limit(root: Path) -> int | None:
    """Bytes granted by the control group mounted at `root`; None: no limit."""
    for path in (root / "memory.max", root / "memory" / "memory.limit_in_bytes"):
        value = _read(path)
        if value.isdigit() and 0 < int(value) < 1 << 60:
            return int(value)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "CPU"

"""Apple's GPU (Metal), told from the platform alone: on Apple silicon it is there and shares the machine's memory."""

import platform
import subprocess
import sys
from collections.abc import Callable

from gogrid.protocol.worker_report import DeviceKind
from runner.probes.base import Gpu, GpuFindings

APPLE_GPU = "apple"
"""Stands where other GPUs have a UUID: a Mac has one GPU, and a sandbox is granted it by this name."""
_WORKING_SET = 0.75
"""Share of the unified memory that Metal recommends one program to use at most."""


def probe_apple() -> GpuFindings:
    return find_apple(sys.platform, platform.machine(), _sysctl)


def find_apple(system: str, machine: str, sysctl: Callable[[str], str]) -> GpuFindings:
    """What a Mac of that kind has.

    Args:
        system: as `sys.platform`.
        machine: as `platform.machine()`.
        sysctl: the text of a kernel variable by name.
    """
    if system != "darwin":
        return GpuFindings(DeviceKind.MPS, (), "no Apple GPU (not a Mac)")
    if machine != "arm64":
        return GpuFindings(DeviceKind.MPS, (), "no Apple GPU that can be used (Metal needs Apple silicon)")
    memory, name = sysctl("hw.memsize"), sysctl("machdep.cpu.brand_string")
    if not memory.isdigit():
        return GpuFindings(DeviceKind.MPS, (), "the Apple GPU's memory could not be read (sysctl hw.memsize)")
    gpu = Gpu(DeviceKind.MPS, f"{name or 'Apple silicon'} GPU", APPLE_GPU, int(int(memory) * _WORKING_SET), 0)
    return GpuFindings(DeviceKind.MPS, (gpu,), "")


def _sysctl(name: str) -> str:
    """The text of a kernel variable, empty if there is none."""
    try:
        done = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()

"""What this worker is and lends, as its coordinator and its owner are told: one frozen value for the settings of now.

`survey.py` makes a fresh one whenever the settings change; what was found out about the machine stays the same.
"""

import platform
import socket
import sys
from dataclasses import dataclass

from gogrid.protocol.worker_report import Device, DeviceKind, Readiness
from gogrid.sizes import format_size
from runner.limits import Limit
from runner.probes.base import Cpu, EngineBuild
from runner.probes.choose import Chosen
from runner.sandbox.base import SandboxReport


@dataclass(frozen=True, slots=True)
class Facts:
    software: str
    hostname: str
    platform: str
    device: Chosen
    engines: tuple[str, ...]
    cores: int
    """Lent by the owner."""
    script_memory: int
    """Bytes of main memory that scripts may use together."""
    sandbox: str
    """In words."""
    python_jobs: bool
    problem: str
    """In words, why this worker cannot work at all; empty: it can."""
    packages: tuple[str, ...] = ()
    """What scripts can import besides the standard library: `numpy 2.4.6`."""
    gpu_scripts: bool = False
    update_note: str = ""
    """What became of the last update, if somebody should know."""
    engine_note: str = ""
    """How far it is with getting the engine that it lacks; empty: it lacks none, or nothing is done about it."""

    @property
    def lent(self) -> str:
        """In words: `8.0 GB of RTX 4090, 4.0 GB of memory for scripts`."""
        device = next((device for device in self.devices if device.usable), None)
        models = f"{format_size(device.cap_bytes)} of {device.name}" if device is not None else "nothing for models"
        return f"{models}, {format_size(self.script_memory)} of memory for scripts"

    @property
    def standing(self) -> tuple[Readiness, str]:
        """What holds unless the owner or the coordinator says otherwise."""
        problem = self.problem or ("" if self.python_jobs else self.engine_note)
        return (Readiness.UNABLE, problem) if problem else (Readiness.READY, "ready")

    @property
    def devices(self) -> tuple[Device, ...]:
        return self.device.devices

    @property
    def shares_memory(self) -> bool:
        """Models and scripts draw on the same memory."""
        return self.device.kind is not DeviceKind.CUDA


def gather(
    *,
    software: str,
    cpu: Cpu,
    cores_lent: int,
    max_ram: Limit,
    device: Chosen,
    engine: EngineBuild,
    sandbox: SandboxReport | None,
    no_sandbox: str,
    packages: tuple[str, ...] = (),
    gpu_scripts: bool = False,
    update_note: str = "",
) -> Facts:
    """Put together what the probes found.

    Args:
        cores_lent: 0: all.
        sandbox: None if none works; then `no_sandbox` says why.
        gpu_scripts: what the owner wants; without a CUDA device nothing comes of it.
    """
    return Facts(
        software=software,
        hostname=socket.gethostname(),
        platform=platform_name(sys.platform, platform.machine()),
        device=device,
        engines=engine.engines,
        cores=min(cpu.cores, cores_lent) if cores_lent else cpu.cores,
        script_memory=max_ram.of(cpu.memory_bytes),
        sandbox=sandbox_words(sandbox) if sandbox is not None else f"none: {no_sandbox}",
        python_jobs=sandbox is not None and sandbox.python_jobs,
        problem=f"no sandbox works: {no_sandbox}" if sandbox is None else device.problem,
        packages=packages,
        gpu_scripts=gpu_scripts and device.kind is DeviceKind.CUDA,
        update_note=update_note,
    )


def sandbox_words(report: SandboxReport) -> str:
    words = f"{report.name}: {', '.join(report.layers)}"
    if report.missing:
        words += f"; cannot enforce {', '.join(report.missing)}"
    return f"{words}; skipped: {' '.join(report.skipped)}" if report.skipped else words


def platform_name(system: str, machine: str) -> str:
    """`linux-x86_64`, `darwin-aarch64`, `windows-x86_64`: the names of the update targets."""
    names = {"arm64": "aarch64", "amd64": "x86_64"}
    os_name = {"win32": "windows"}.get(system, system)
    return f"{os_name}-{names.get(machine.lower(), machine.lower())}"

"""Every probe of this machine, once."""

import sys
from dataclasses import dataclass

from gogrid.protocol.messages import DeviceKind
from runner.probes.apple import probe_apple
from runner.probes.base import Cpu, EngineBuild, GpuFindings
from runner.probes.cpu import probe_cpu
from runner.probes.engine import probe_engine
from runner.probes.nvidia import probe_nvidia


@dataclass(frozen=True, slots=True)
class Machine:
    cpu: Cpu
    engine: EngineBuild
    findings: tuple[GpuFindings, ...]
    """Of every GPU probe, best vendor first."""

    @property
    def nvidia(self) -> tuple[str, ...]:
        """UUIDs of the GPUs whose driver must start inside the sandbox."""
        gpus = (gpu for found in self.findings for gpu in found.gpus)
        return tuple(gpu.uuid for gpu in gpus if gpu.kind is DeviceKind.CUDA and gpu.uuid)


def probe_machine() -> Machine:
    findings = (probe_apple(),) if sys.platform == "darwin" else (probe_nvidia(),)
    return Machine(probe_cpu(), probe_engine(), findings)

"""Every probe of this machine, once."""

import sys
from dataclasses import dataclass

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


def probe_machine() -> Machine:
    findings = (probe_apple(),) if sys.platform == "darwin" else (probe_nvidia(),)
    return Machine(probe_cpu(), probe_engine(), findings)

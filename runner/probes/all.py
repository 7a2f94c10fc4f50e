"""Every probe of this machine, once."""

import sys
from dataclasses import dataclass

from runner.config import WorkerConfig
from runner.probes.apple import probe_apple
from runner.probes.base import Cpu, EngineBuild
from runner.probes.choose import Chosen, choose_device
from runner.probes.cpu import probe_cpu
from runner.probes.engine import probe_engine
from runner.probes.nvidia import probe_nvidia


@dataclass(frozen=True, slots=True)
class Machine:
    cpu: Cpu
    engine: EngineBuild
    device: Chosen


def probe_machine(config: WorkerConfig) -> Machine:
    cpu, engine = probe_cpu(), probe_engine()
    findings = (probe_apple(),) if sys.platform == "darwin" else (probe_nvidia(),)
    device = choose_device(config.device, cpu, findings, engine, config.max_vram, config.max_ram)
    return Machine(cpu, engine, device)

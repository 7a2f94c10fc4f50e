"""Every probe of this machine, once."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from gogrid.protocol.worker_report import DeviceKind
from runner.config import DeviceChoice
from runner.engine_pack.choice import NO_PACK, PackChoice, accelerator
from runner.engine_pack.find import find_pack
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
    pack: PackChoice = NO_PACK
    """Where the engine comes from, if it is not installed with this program."""

    @property
    def site(self) -> tuple[Path, ...]:
        """Folders of packages that sandboxes see besides this program's own."""
        return (self.pack.pack.site,) if self.pack.pack is not None else ()

    @property
    def nvidia(self) -> tuple[str, ...]:
        """UUIDs of the GPUs whose driver must start inside the sandbox."""
        gpus = (gpu for found in self.findings for gpu in found.gpus)
        return tuple(gpu.uuid for gpu in gpus if gpu.kind is DeviceKind.CUDA and gpu.uuid)


def probe_machine(engines: Path | None = None, wanted: DeviceChoice = DeviceChoice.AUTO) -> Machine:
    """Look at everything.

    Args:
        engines: the folder of engine packs, asked where no engine is installed with this program.
        wanted: the device its owner named, which a pack has to serve.
    """
    findings = (probe_apple(),) if sys.platform == "darwin" else (probe_nvidia(),)
    engine = probe_engine()
    if engine.torch or engines is None:
        return Machine(probe_cpu(), engine, findings)
    pack = find_pack(engines, accelerator(wanted, findings))
    machine = Machine(probe_cpu(), engine, findings, pack)
    return replace(machine, engine=probe_engine(machine.site)) if machine.site else machine


def engine_words(machine: Machine) -> str:
    """Where torch comes from, or why there is none."""
    if machine.pack.pack is not None:
        return f"{machine.pack.why}, pack {machine.pack.pack.sha256[:12]}"
    if machine.engine.torch:
        return "installed with this program"
    return "; ".join(word for word in (machine.engine.problem, machine.pack.why) if word)

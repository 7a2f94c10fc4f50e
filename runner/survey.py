"""What was found out about this machine at start, and what follows from it under the settings of the moment."""

from dataclasses import dataclass, replace

import gogrid
from gogrid.places import WorkerPlaces
from runner.config import WorkerConfig
from runner.facts import Facts, gather
from runner.probes.all import Machine
from runner.probes.choose import choose_device
from runner.python_job.packages import offered
from runner.sandbox.base import SandboxReport

_LONGEST_NOTE = 300


@dataclass(frozen=True, slots=True)
class Survey:
    """Looks at nothing any more: the settings may change while the worker runs, the machine does not."""

    machine: Machine
    sandbox: SandboxReport | None
    no_sandbox: str
    """In words, why there is none."""
    update_note: str = ""
    """What became of the last update, if somebody should know."""

    def facts(self, config: WorkerConfig) -> Facts:
        machine = self.machine
        device = choose_device(
            config.device,
            machine.cpu,
            machine.findings,
            machine.engine,
            config.max_vram,
            config.max_ram,
            self.sandbox.gpus if self.sandbox is not None else None,
            config.gpu,
        )
        return gather(
            software=f"gogrid/{gogrid.__version__}",
            cpu=machine.cpu,
            cores_lent=config.cpu_cores,
            max_ram=config.max_ram,
            device=device,
            engine=machine.engine,
            sandbox=self.sandbox,
            no_sandbox=self.no_sandbox,
            packages=offered(machine.site),
            gpu_scripts=config.gpu_scripts,
            update_note=self.update_note,
        )


def update_note(places: WorkerPlaces) -> str:
    """As the start of the program wrote it down; empty: nothing that somebody should know."""
    try:
        text = places.update_note.read_bytes()[:_LONGEST_NOTE].decode(errors="replace")
    except OSError:
        return ""
    return " ".join(text.split())


def taken_up(config: WorkerConfig, fresh: WorkerConfig) -> WorkerConfig:
    """What a running worker makes of fresher settings: all of them, but for `config.AT_START`."""
    return replace(fresh, host=config.host, port=config.port, device=config.device, gpu=config.gpu)

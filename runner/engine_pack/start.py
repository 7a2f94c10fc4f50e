"""Puts the keeper of a runner's engine together, where there is anything to keep.

A worker that has torch in its own Python fetches no pack, and neither does one that was not told whom to believe.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runner.config import DeviceChoice
from runner.engine_pack.choice import accelerator
from runner.engine_pack.find import this_python
from runner.probes.all import Machine
from updates.engine_pack.system import this_system

if TYPE_CHECKING:
    from runner.engine_pack.around import Surroundings
    from runner.engine_pack.keeper import EngineKeeper


def engine_keeper(
    machine: Machine,
    engines: Path,
    publisher: Path | None,
    wanted: DeviceChoice,
    cap: Callable[[], int],
    around: "Surroundings",
) -> "EngineKeeper | None":
    """
    Args:
        engines: where packs lie.
        publisher: the folder with this program's root keys.
        cap: bytes of disk that packs may take.
    """
    pack = machine.pack.pack
    if publisher is None or (machine.engine.torch and pack is None):
        return None
    from runner.engine_pack.keeper import EngineKeeper
    from runner.engine_pack.source import PackSource

    source = PackSource(engines, publisher, pack_target(machine, wanted), this_python(), cap)
    return EngineKeeper(source, pack, around)


def pack_target(machine: Machine, wanted: DeviceChoice) -> str:
    """`linux-x86_64-cuda`: for this system, and what its owner wants or it has."""
    return f"{this_system()}-{accelerator(wanted, machine.findings)}"

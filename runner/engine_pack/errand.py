"""`gogrid-worker engine …` in the runner's process: list, install, verify and remove engine packs. Prints JSON."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from gogrid.places import WorkerPlaces
from runner.config import DeviceChoice
from runner.engine_pack.choice import accelerator
from runner.engine_pack.find import find_pack
from runner.engine_pack.shelf import EnginePack, EnginePackError, Shelf, verify
from runner.probes.all import probe_machine


class PackShown(msgspec.Struct, frozen=True, kw_only=True):
    sha256: str
    label: str
    """`torch 2.13.0 for linux-x86_64-cpu, cp311`."""
    bytes: int
    used: bool
    """Whether the executors of this machine import from it."""


class PacksShown(msgspec.Struct, frozen=True, kw_only=True):
    packs: tuple[PackShown, ...]
    wrong: tuple[str, ...] = ()
    """Sentences about folders that are no packs, or no whole ones."""


def engine_errand(places: WorkerPlaces, wanted: DeviceChoice, words: Sequence[str]) -> PacksShown:
    """Do what the words say: `list`, `install FILE SHA256`, `verify`, `remove START`.

    Raises:
        EnginePackError: it cannot be done; says why.
        OSError: the disk.
    """
    shelf = Shelf(places.engines)
    match tuple(words):
        case ("list",):
            packs, wrong = shelf.packs()
        case ("install", file, sha256):
            packs, wrong = (shelf.install(Path(file), sha256),), ()
        case ("remove", start):
            packs, wrong = (shelf.remove(start),), ()
        case ("verify",):
            packs, wrong = shelf.packs()
            for pack in packs:
                try:
                    verify(pack)
                except EnginePackError as error:
                    wrong = (*wrong, f"the engine pack {pack.sha256[:12]} cannot be used: {error}")
        case _:
            raise EnginePackError("Use list, install FILE SHA256, verify or remove START.")
    used = find_pack(places.engines, accelerator(wanted, probe_machine().findings)).pack
    return PacksShown(packs=tuple(_shown(pack, used) for pack in packs), wrong=wrong)


def _shown(pack: EnginePack, used: EnginePack | None) -> PackShown:
    return PackShown(
        sha256=pack.sha256,
        label=pack.manifest.label,
        bytes=pack.manifest.unpacked,
        used=used is not None and used.sha256 == pack.sha256,
    )

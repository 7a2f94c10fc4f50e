"""`gogrid-worker engine …` in the runner's process: list, install, verify and remove engine packs. Prints JSON."""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gogrid.places import WorkerPlaces
from runner.config import DeviceChoice
from runner.engine_pack.choice import accelerator, dotted, too_old
from runner.engine_pack.find import find_pack
from runner.engine_pack.ledger import added, load_ledger, save_ledger
from runner.engine_pack.shelf import EnginePack, EnginePackError, Shelf, verify
from runner.probes.all import probe_machine
from updates.engine_pack.manifest import PackError, packed_manifest
from updates.engine_pack.system import os_version


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


def engine_errand(
    places: WorkerPlaces, wanted: DeviceChoice, words: Sequence[str], publisher: Path | None
) -> PacksShown:
    """Do what the words say: `list`, `install FILE [SHA256]`, `verify`, `remove START`.

    Args:
        publisher: the folder with the root keys by which a signature beside FILE is judged.

    Raises:
        EnginePackError: it cannot be done; says why.
        OSError: the disk.
    """
    shelf = Shelf(places.engines)
    match tuple(words):
        case ("list",):
            packs, wrong = shelf.packs()
        case ("install", file):
            packs, wrong = (_install(shelf, Path(file), None, places, publisher),), ()
        case ("install", file, sha256):
            packs, wrong = (_install(shelf, Path(file), sha256, places, publisher),), ()
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
            raise EnginePackError("Use list, install FILE [SHA256], verify or remove START.")
    used = find_pack(places.engines, accelerator(wanted, probe_machine().findings)).pack
    return PacksShown(packs=tuple(_shown(pack, used) for pack in packs), wrong=wrong)


def _install(shelf: Shelf, file: Path, sha256: str | None, places: WorkerPlaces, publisher: Path | None) -> EnginePack:
    """By the publisher's signature where that can be checked, and by the digest where one was named.

    Raises `EnginePackError` also for a pack that needs a newer system than this one.
    """
    release = None
    if publisher is not None:
        from runner.engine_pack.by_hand import signed_release

        release = signed_release(file, places, publisher, time.time())
    if release is None and sha256 is None:
        raise EnginePackError(
            f"Whether {file} is to be trusted cannot be told: {file.name}.minisig beside it and the publisher's keys "
            "are needed; or say the SHA-256 that the publisher names: --digest HEX"
        )
    _require_system(file)
    pack = shelf.install(file, sha256 or (release.sha256 if release is not None else ""))
    if release is not None:
        if pack.sha256 != release.sha256:
            raise EnginePackError(f"{file} changed meanwhile.")
        save_ledger(places.engines, added(load_ledger(places.engines), release))
    return pack


def _require_system(file: Path) -> None:
    try:
        manifest = packed_manifest(file)
    except PackError:
        return  # `install` says what is wrong with it
    if too_old(manifest, os_version()):
        raise EnginePackError(
            f"{file} needs a system of {manifest.os_min} or later, this one is {dotted(os_version())}."
        )


def _shown(pack: EnginePack, used: EnginePack | None) -> PackShown:
    return PackShown(
        sha256=pack.sha256,
        label=pack.manifest.label,
        bytes=pack.manifest.unpacked,
        used=used is not None and used.sha256 == pack.sha256,
    )

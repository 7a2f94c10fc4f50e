"""`engine-pack`: make an engine pack for one system and accelerator; `sign` then takes it like any other file."""

import argparse
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from updates.engine_pack.build import build_pack
from updates.engine_pack.manifest import PackError
from updates.engine_pack.sources import SOURCES, PackRequest
from updates.release_cli.shell import Json, Shell, Subparsers, complain, show, verb

_EXTRA = 'extra == "engine"'


def add(subparsers: Subparsers) -> None:
    parser = verb(subparsers, "engine-pack", _run, "Make an engine pack: torch and what goes with it, for one system.")
    systems = sorted({system for system, _ in SOURCES})
    parser.add_argument("--target", required=True, choices=systems, help="the system: linux-x86_64, …")
    parser.add_argument("--accel", required=True, choices=("cpu", "cuda", "mps"), help="what torch is built for")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="gets the archive")
    parser.add_argument("--torch", metavar="VERSION", help="this torch and no other")
    parser.add_argument(
        "--index", metavar="URL", help="where that torch is, instead of its usual place; empty: only where pip looks"
    )


def _run(args: argparse.Namespace, shell: Shell) -> int:
    major, minor, _ = platform.python_version_tuple()
    request = PackRequest(args.target, args.accel, f"{major}.{minor}", tuple(_requirements(args.torch)), args.index)
    built = build_pack(request, args.out, (lambda line: None) if shell.as_json else complain)
    value: dict[str, Json] = {
        "file": str(built.file),
        "sha256": built.sha256,
        "size": built.size,
        "target": built.manifest.target,
        "python_abi": built.manifest.python,
        "os_min": built.manifest.os_min,
        "torch": built.manifest.version,
    }
    show(value, f"{built.file}\nsha256 {built.sha256}\n{built.size} bytes, {built.manifest.label}", shell)
    return 0


def _requirements(torch: str | None) -> Iterator[str]:
    """What the `engine` extra of this program asks for. Raises `PackError`."""
    try:
        wanted = [line for line in requires("gogrid") or () if _EXTRA in line]
    except PackageNotFoundError:
        wanted = []
    if not wanted:
        raise PackError("This program was not installed as a package, so what an engine needs is unknown.")
    for line in wanted:
        requirement = line.split(";")[0].strip()
        pinned = torch is not None and requirement.startswith("torch") and not requirement[5:6].isalpha()
        yield f"torch=={torch}" if pinned else requirement

"""`verify`: whether machines and coordinators would believe a release folder; reads every file in it."""

import argparse
from pathlib import Path

from updates.errors import FolderError
from updates.release_cli.shell import Json, Shell, Subparsers, show, verb
from updates.release_folder import ReleaseFolder
from updates.trust.anchors import LARGEST_ANCHORS, Anchors, parse_anchors
from updates.trust.publication import check_publication


def add(commands: Subparsers) -> None:
    parser = verb(commands, "verify", run, "Check everything in a release folder as a machine would.")
    parser.add_argument("folder", type=Path, help="the release folder")
    parser.add_argument("--root-keys", type=Path, required=True, metavar="FILE", help="root-keys.json")


def run(args: argparse.Namespace, shell: Shell) -> int:
    folder = ReleaseFolder(args.folder)
    checked = check_publication(folder.read(), read_anchors(args.root_keys), shell.now)
    size = folder.check_files(checked)
    release = checked.release
    steps = ", ".join(f"{step.percent} %" for step in checked.steps)
    words = (
        f"Good: release {release.release_seq} ({release.version}) of {release.app} {release.channel}, keys of epoch "
        f"{checked.keys.key_epoch}, {len(release.files())} files of {size} bytes, may be rolled out to {steps}."
    )
    value: dict[str, Json] = {
        "good": True,
        "app": release.app,
        "channel": release.channel,
        "release_seq": release.release_seq,
        "version": release.version,
        "key_epoch": checked.keys.key_epoch,
        "files": len(release.files()),
        "bytes": size,
        "rollout": [step.percent for step in checked.steps],
    }
    show(value, words, shell)
    return 0


def read_anchors(path: Path) -> Anchors:
    """Raises `UpdateError`."""
    try:
        with path.open("rb") as file:
            return parse_anchors(file.read(LARGEST_ANCHORS + 1))
    except FileNotFoundError:
        raise FolderError(f"There is no {path}; `gogrid-release roots` makes it.") from None

"""`backup` and `restore`: a copy of everything that makes this coordinator, taken while it runs; and the way back."""

import argparse
from pathlib import Path

from coordinator.cli.output import Json, moment, show
from coordinator.cli.shell import Shell, Subparsers, verb
from coordinator.errors import StateError

_PRIVATE = "It holds the coordinator's identity key: whoever can read it can pose as this coordinator. Keep it safe."


def add(commands: Subparsers) -> None:
    taking = verb(
        commands, "backup", run_backup, "Copy database, identity and files, also beside a running coordinator."
    )
    taking.add_argument("--to", metavar="PLACE", help="a folder, or a file ending in .tar; default: a new folder here")
    taking.add_argument("--without-blobs", action="store_true", help="leave out the files of models and jobs")
    restoring = verb(commands, "restore", run_restore, "Make a state folder, which must be empty, from a backup.")
    restoring.add_argument("backup", help="what `backup` made")


def run_backup(args: argparse.Namespace, shell: Shell) -> int:
    from coordinator.state import backup  # so that --help is quick

    if args.to == "":  # an unset variable in a script, not a wish for the working folder
        raise StateError("--to is empty; give a folder or a file ending in .tar, or leave --to out.")
    shell.folder.require()
    made = backup.make(shell.folder, None if args.to is None else Path(args.to), not args.without_blobs, shell.now)
    manifest = made.manifest
    words = [f"The backup is {made.path}.", _PRIVATE]
    if not manifest.with_blobs:
        words.append("Files of models and jobs are not in it: after a restore, copy the folder `blobs` back yourself.")
    if manifest.missing:
        words.append(f"{len(manifest.missing)} files that models or jobs name are missing here, and so in the backup.")
    value: dict[str, Json] = {
        "path": str(made.path),
        "made_at": manifest.made_at,
        "blobs": manifest.blobs,
        "with_blobs": manifest.with_blobs,
        "missing": list(manifest.missing),
        "warning": _PRIVATE,
    }
    show(value, "\n".join(words), shell.as_json)
    return 0


def run_restore(args: argparse.Namespace, shell: Shell) -> int:
    from coordinator.state import backup

    restored = backup.restore(Path(args.backup).expanduser(), shell.folder, shell.now)
    manifest, missing = restored.manifest, restored.missing
    taken = moment(manifest.made_at)
    words = [
        f"{shell.folder.root} is as the coordinator was at {taken}. Never run it beside the old one.",
        f"Keys, workers and models are those of {taken}: revoke again what was revoked since.",
        "Join tokens that were not used up are revoked; make new ones for machines that have joined since.",
        "Jobs that had not ended then run again.",
    ]
    if missing and not manifest.with_blobs:
        words.append(
            f"The backup has no files of models and jobs, and at least {len(missing)} are missing now: "
            f"copy the old folder `blobs` to {shell.folder.blobs}."
        )
    elif missing:
        words.append(f"{len(missing)} files that models or jobs name were missing already when the backup was made.")
    words += ["Start it:", f"  gogrid-coordinator serve{shell.data_flag}"]
    value: dict[str, Json] = {
        "data": str(shell.folder.root),
        "made_at": manifest.made_at,
        "with_blobs": manifest.with_blobs,
        "missing": missing,
    }
    show(value, "\n".join(words), shell.as_json)
    return 0

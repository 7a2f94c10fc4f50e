"""`timestamp`: say for the next days which release is the newest, and how far it is rolled out.

One timestamp for each percent of `--rollout`, with rising numbers, so that whoever publishes may go from one to the
next without a key. A number is the second in which it was made, or one more than the highest in the folder.
"""

import argparse
import hashlib
from pathlib import Path

from updates.errors import UpdateError
from updates.release_cli.secret_keys import Passphrases, opened, passphrase_option
from updates.release_cli.shell import DAY_S, Json, Shell, Subparsers, days, document, moment, show, verb, whole
from updates.release_folder import ReleaseFolder, signature_beside, write_new
from updates.trust.documents import TIMESTAMP_COMMENT, parse_keys, parse_release, parse_timestamp


def add(commands: Subparsers) -> None:
    parser = verb(commands, "timestamp", run, "Sign that a folder's release is the newest, for a week.")
    parser.add_argument("folder", type=Path, help="the release folder")
    parser.add_argument("--key", type=Path, required=True, metavar="SECRET", help="a timestamp key")
    parser.add_argument(
        "--rollout",
        type=_percents,
        metavar="PCT[,PCT…]",
        help="one timestamp for each; default: as the newest ones there",
    )
    parser.add_argument("--expires", type=days, default=7 * DAY_S, metavar="DAYS", help="default: 7d")
    parser.add_argument("--seq", type=whole(1, 1 << 52), metavar="N", help="the first number; default: from the clock")
    passphrase_option(parser)


def run(args: argparse.Namespace, shell: Shell) -> int:
    folder = ReleaseFolder(args.folder)
    publication = folder.read()
    if not publication.keys:
        raise UpdateError(f"{folder.keys} holds no keys yet; `gogrid-release keys make` makes them.")
    keys = parse_keys(publication.keys[-1].data)
    release = parse_release(publication.release.data)
    highest = folder.highest_timestamp()
    first = args.seq or max(int(shell.now), highest + 1)
    if first <= highest:
        raise UpdateError(f"--seq {first} is not above {highest}, the highest there; numbers are never reused.")
    percents = args.rollout or _as_before(folder) or (release.rollout.percent,)
    made: list[Json] = []
    with opened(args.key, Passphrases(args.passphrase_fd)) as signer:
        if signer.public.id not in keys.of(keys.timestamp_keys):
            raise UpdateError(f"{args.key} is no timestamp key of epoch {keys.key_epoch}; machines would refuse this.")
        for seq, percent in enumerate(percents, first):
            data = document(
                {
                    "schema": 1,
                    "app": release.app,
                    "channel": release.channel,
                    "ts_seq": seq,
                    "release_seq": release.release_seq,
                    "release_sha256": hashlib.sha256(publication.release.data).hexdigest(),
                    "release_size": len(publication.release.data),
                    "issued_at": moment(shell.now),
                    "expires": moment(shell.now + args.expires),
                    "rollout_percent": percent,
                }
            )
            path = folder.timestamps / f"timestamp-{seq}.json"
            write_new(signature_beside(path), signer.sign(data, TIMESTAMP_COMMENT))
            write_new(path, data)
            made.append({"file": str(path), "ts_seq": seq, "percent": percent})
    shown = ", ".join(f"{percent} %" for percent in percents)
    words = (
        f"Release {release.release_seq} is the newest until {moment(shell.now + args.expires)}: timestamps for {shown}."
    )
    show(made, words, shell)
    return 0


def _percents(text: str) -> tuple[int, ...]:
    parse = whole(0, 100)
    percents = tuple(parse(part) for part in text.split(","))
    if list(percents) != sorted(set(percents)):
        raise argparse.ArgumentTypeError(f"{text!r} does not rise; for instance 5,25,100")
    return percents


def _as_before(folder: ReleaseFolder) -> tuple[int, ...]:
    """The percents of the timestamps that were made last, together."""
    stamps = [parse_timestamp(signed.data) for signed in folder.read().timestamps]
    newest = max((stamp.issued_at for stamp in stamps), default=None)
    found = {stamp.rollout_percent for stamp in stamps if stamp.issued_at == newest}
    return tuple(sorted(percent for percent in found if percent is not None))

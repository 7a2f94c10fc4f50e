"""`keys make` and `keys sign`: say which keys sign releases and timestamps from an epoch on; root keys sign that."""

import argparse
from pathlib import Path

from updates.errors import FolderError, UpdateError
from updates.release_cli.secret_keys import Passphrases, opened, passphrase_option, read_public
from updates.release_cli.shell import DAY_S, Json, Shell, Subparsers, days, document, moment, shaped, show, verb, whole
from updates.release_folder import ReleaseFolder, signatures_of, write_new
from updates.trust.documents import KEYS_COMMENT, LARGEST_KEYS, KeyId, parse_keys


def add(commands: Subparsers) -> None:
    parser = commands.add_parser("keys", help="The keys that sign releases and timestamps.", allow_abbrev=False)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    making = verb(verbs, "make", run_make, "Say which keys count from the next epoch on; root keys must sign it then.")
    making.add_argument("folder", type=Path, help="the release folder; the document goes to its keys/")
    making.add_argument(
        "--release-key", action="append", type=Path, required=True, metavar="PUB", help="may be repeated"
    )
    making.add_argument(
        "--timestamp-key", action="append", type=Path, required=True, metavar="PUB", help="may be repeated"
    )
    making.add_argument(
        "--revoke", action="append", type=_key_id, default=[], metavar="ID", help="a key that counts no more"
    )
    making.add_argument("--epoch", type=whole(1, 1 << 40), metavar="N", help="default: one more than the newest there")
    making.add_argument("--expires", type=days, default=365 * DAY_S, metavar="DAYS", help="default: 365d")
    signing = verb(verbs, "sign", run_sign, "Sign such a document with one or more root keys.")
    signing.add_argument("document", type=Path, help="keys/keys-1.json")
    signing.add_argument("--key", action="append", type=Path, required=True, metavar="SECRET", help="may be repeated")
    passphrase_option(signing)


def _key_id(text: str) -> str:
    return shaped(KeyId, "a key's id: 16 hexadecimal digits, as keygen shows it")(text.upper())


def run_make(args: argparse.Namespace, shell: Shell) -> int:
    folder = ReleaseFolder(args.folder)
    before = [parse_keys(signed.data) for signed in folder.read_keys()]
    newest = before[-1] if before else None
    epoch = args.epoch or (newest.key_epoch + 1 if newest else 1)
    revoked = dict.fromkeys([*(newest.revoked if newest else ()), *args.revoke])
    value: dict[str, Json] = {
        "schema": 1,
        "key_epoch": epoch,
        "expires": moment(shell.now + args.expires),
        "release_keys": [read_public(path, "release").text for path in args.release_key],
        "timestamp_keys": [read_public(path, "timestamp").text for path in args.timestamp_key],
        "revoked": list(revoked),
    }
    data = document(value)
    keys = parse_keys(data)
    if not keys.of(keys.release_keys) or not keys.of(keys.timestamp_keys):
        raise UpdateError("Every release key or every timestamp key is revoked here; name one that is not.")
    path = folder.keys / f"keys-{epoch}.json"
    write_new(path, data)
    show(
        {"file": str(path), "epoch": epoch},
        f"{path} is made; let root keys sign it with `gogrid-release keys sign`.",
        shell,
    )
    return 0


def run_sign(args: argparse.Namespace, shell: Shell) -> int:
    try:
        with args.document.open("rb") as file:
            data = file.read(LARGEST_KEYS + 1)
    except FileNotFoundError:
        raise FolderError(f"There is no document {args.document}.") from None
    keys = parse_keys(data)
    passphrases = Passphrases(args.passphrase_fd)
    ids = []
    for path in args.key:
        with opened(path, passphrases) as signer:
            if signer.public.text in (*keys.release_keys, *keys.timestamp_keys):
                raise UpdateError(f"{path} is listed in the document itself; only root keys sign it.")
            write_new(
                args.document.with_name(f"{args.document.name}.{signer.public.id}.minisig"),
                signer.sign(data, KEYS_COMMENT),
            )
            ids.append(signer.public.id)
    count = len(signatures_of(args.document))
    words = f"{args.document} has {count} signature{'s' if count != 1 else ''} now."
    show({"file": str(args.document), "epoch": keys.key_epoch, "signed_by": ids, "signatures": count}, words, shell)
    return 0

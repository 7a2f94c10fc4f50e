"""`keygen` and `roots`: make secret keys, and the list of root keys that every copy of the program carries."""

import argparse
from pathlib import Path

from updates.errors import UpdateError
from updates.release_cli.secret_keys import Passphrases, make_key, passphrase_option, public_path, read_public
from updates.release_cli.shell import Shell, Subparsers, document, show, verb, whole
from updates.release_folder import require_folder, write_new
from updates.trust.anchors import LEAST_THRESHOLD, parse_anchors

ROLES = ("root", "release", "timestamp")


def add(commands: Subparsers) -> None:
    making = verb(
        commands, "keygen", run_keygen, "Make a secret key, encrypted with a passphrase, and its public half."
    )
    making.add_argument("role", choices=ROLES, help="what it will sign: keys, releases, or timestamps")
    making.add_argument("path", type=Path, help="the secret key's file, for instance root-1.key; .pub comes beside it")
    passphrase_option(making)
    roots = verb(commands, "roots", run_roots, "List the root keys that programs and coordinators are to trust.")
    roots.add_argument("public", nargs="+", type=Path, metavar="PUB", help="public root keys, three for instance")
    roots.add_argument("--to", type=Path, default=Path("root-keys.json"), help="default: root-keys.json")
    roots.add_argument("--threshold", type=whole(LEAST_THRESHOLD, 16), default=LEAST_THRESHOLD, help="default: 2")
    roots.add_argument(
        "--first-epoch",
        type=whole(1, 1 << 40),
        default=1,
        metavar="N",
        help="the first keys that these sign; default: 1",
    )


def run_keygen(args: argparse.Namespace, shell: Shell) -> int:
    if args.path.suffix == ".pub":
        raise UpdateError("Name the secret key's file; the public key is put beside it as .pub.")
    public = make_key(args.path, args.role, Passphrases(args.passphrase_fd))
    beside = public_path(args.path)
    words = f"The {args.role} key {public.id} is in {args.path}; keep it offline. Its public half is {beside}."
    show(
        {"role": args.role, "id": public.id, "secret": str(args.path), "public": str(beside), "key": public.text},
        words,
        shell,
    )
    return 0


def run_roots(args: argparse.Namespace, shell: Shell) -> int:
    keys = [read_public(path, "root") for path in args.public]
    if len(keys) < args.threshold:
        raise UpdateError(
            f"{args.threshold} root keys must sign, but only {len(keys)} {'is' if len(keys) == 1 else 'are'} named: "
            "give the .pub of each, such as root-1.pub root-2.pub root-3.pub."
        )
    data = document(
        {
            "schema": 1,
            "threshold": args.threshold,
            "first_epoch": args.first_epoch,
            "root_keys": [key.text for key in keys],
        }
    )
    parse_anchors(data)
    require_folder(args.to)
    write_new(args.to, data)
    words = f"{args.to} lists {len(keys)} root keys, {args.threshold} of which must sign."
    show({"file": str(args.to), "threshold": args.threshold, "ids": [key.id for key in keys]}, words, shell)
    return 0

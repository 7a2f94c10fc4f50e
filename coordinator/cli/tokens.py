"""`token create | list | revoke`: one paste lets a machine join."""

import argparse
import asyncio

from coordinator.cli.output import Json, moment, show, table
from coordinator.cli.shell import Shell, Subparsers, group, verb
from coordinator.config import load_config
from coordinator.own_addresses import elsewhere, token_addresses
from coordinator.records import TokenRecord
from gogrid.addresses import parse_address
from gogrid.errors import ConfigError
from gogrid.identity import load_identity
from gogrid.jointoken import MAX_ADDRESSES, mint
from gogrid.pinwords import pin_words
from gogrid.sizes import parse_duration

MAX_USES = 100
_MIN_LIFE_S, _MAX_LIFE_S = 60.0, 90 * 86400.0


def add(commands: Subparsers) -> None:
    verbs = group(commands, "token", "Join tokens: one paste lets a machine become a worker.")
    create = verb(verbs, "create", run_create, "Make a join token and print it; it is shown only this once.")
    create.add_argument("--uses", default="1", metavar="N", help=f"how many machines may join with it, 1 to {MAX_USES}")
    create.add_argument("--expires", default="24h", metavar="TIME", help="how long it is good for, up to 90d")
    create.add_argument("--label", default="", help="a note for yourself")
    create.add_argument("--approve", action="store_true", help="machines must be approved after joining")
    create.add_argument(
        "--address", action="append", metavar="HOST[:PORT]", help="where machines reach this coordinator; up to three"
    )
    verb(verbs, "list", run_list, "Show the join tokens.")
    revoke = verb(verbs, "revoke", run_revoke, "Make a join token useless; machines that joined with it stay.")
    revoke.add_argument("id", help="as `token list` shows it")


def run_create(args: argparse.Namespace, shell: Shell) -> int:
    uses, life_s = _uses(args.uses), _life(args.expires)
    config = load_config(shell.folder, {}, shell.environment)
    shell.folder.require()
    identity = load_identity(shell.folder.identity_key, shell.folder.identity_certificate)
    serving = shell.folder.read_serving()
    port = serving.port if serving is not None else None
    if args.address:
        if len(args.address) > MAX_ADDRESSES:
            raise ConfigError(f"--address may be given {MAX_ADDRESSES} times, not {len(args.address)}.")
        addresses = tuple(parse_address(given, port or config.port or 8443) for given in args.address)
    else:
        addresses = token_addresses(config, serving)
    if not args.label.isprintable():
        raise ConfigError(f"--label {args.label!r} is not usable: it must be printable text.")
    token = mint(identity.pin, addresses, int(shell.now + life_s), needs_approval=args.approve)
    record = TokenRecord(
        id=token.token_id,
        public_key=token.public_key(),
        label=args.label,
        created_at=shell.now,
        expires_at=float(token.expires_at),
        max_uses=uses,
        uses=0,
        needs_approval=args.approve,
        revoked=False,
    )

    async def store() -> None:
        async with shell.store() as opened:
            await opened.add_token(record)

    asyncio.run(store())
    machines = "one machine" if uses == 1 else f"{uses} machines"
    words = (
        f"Join token for {machines}, good until {moment(record.expires_at)}; it is shown only this once. "
        f"On the machine:\n  gogrid-worker join {token.text()}\n"
        f"There it is shown with this coordinator's words: {pin_words(token.pin)}"
    )
    if port is not None and (doubt := elsewhere(addresses, port)):
        words += f"\nNote: {doubt}."
    value: Json = _value(record) | {
        "token": token.text(),
        "addresses": [str(address) for address in addresses],
        "words": pin_words(token.pin),
    }
    show(value, words, shell.as_json)
    return 0


def run_list(args: argparse.Namespace, shell: Shell) -> int:
    async def read() -> list[TokenRecord]:
        async with shell.store() as opened:
            return await opened.tokens()

    records = asyncio.run(read())
    rows = [
        (token.id, _state(token, shell.now), f"{token.uses}/{token.max_uses}", moment(token.expires_at), token.label)
        for token in records
    ]
    words = table(("ID", "STATE", "USED", "EXPIRES", "LABEL"), rows, "No join token was made yet.")
    show([_value(token) | {"state": _state(token, shell.now)} for token in records], words, shell.as_json)
    return 0


def run_revoke(args: argparse.Namespace, shell: Shell) -> int:
    async def change() -> None:
        async with shell.store() as opened:
            await opened.revoke_token(args.id)

    asyncio.run(change())
    show({"id": args.id, "revoked": True}, f"The join token {args.id} is useless now.", shell.as_json)
    return 0


def _uses(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:6]) <= MAX_USES:
        raise ConfigError(f"--uses {text!r:.40} is not usable: it must be a whole number from 1 to {MAX_USES}.")
    return int(text)


def _life(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = -1.0
    if not _MIN_LIFE_S <= seconds <= _MAX_LIFE_S:
        raise ConfigError(f"--expires {text!r:.40} is not usable: it must be a duration from 1m to 90d, such as 24h.")
    return seconds


def _state(token: TokenRecord, now: float) -> str:
    if token.revoked:
        return "revoked"
    if token.expires_at <= now:
        return "expired"
    return "used up" if token.uses >= token.max_uses else "good"


def _value(token: TokenRecord) -> dict[str, Json]:
    return {
        "id": token.id,
        "label": token.label,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "uses": token.uses,
        "max_uses": token.max_uses,
        "needs_approval": token.needs_approval,
        "revoked": token.revoked,
    }

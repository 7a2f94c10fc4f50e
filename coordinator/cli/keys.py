"""`key create | list | revoke`: who may use the API."""

import argparse
import asyncio

from coordinator.cli.output import Json, moment, show, table
from coordinator.cli.shell import Shell, Subparsers, group, pick, verb
from coordinator.records import KeyRecord, Scope
from gogrid.apikey import new_api_key
from gogrid.errors import ConfigError
from gogrid.sizes import parse_duration

_LONGEST_NAME = 64
_DEFAULT_SCOPES = (Scope.INFERENCE.value, Scope.JOBS.value)
_MIN_LIFE_S, _MAX_LIFE_S = 60.0, 3650 * 86400.0


def add(commands: Subparsers) -> None:
    verbs = group(commands, "key", "API keys: who may use the API.")
    create = verb(verbs, "create", run_create, "Make an API key and print it; it is shown only this once.")
    create.add_argument("--name", required=True, help="whose or what for")
    create.add_argument(
        "--scope",
        action="append",
        choices=[scope.value for scope in Scope],
        help="what it may do; may be repeated; default: inference and jobs",
    )
    create.add_argument("--expires", metavar="TIME", help="how long it is good for, such as 30d; default: for ever")
    verb(verbs, "list", run_list, "Show the API keys.")
    verb(verbs, "revoke", run_revoke, "Make an API key useless at once.").add_argument("key", help="its id or name")


def run_create(args: argparse.Namespace, shell: Shell) -> int:
    name = args.name.strip()
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise ConfigError(f"--name {name!r:.80} is not usable: it must be 1 to {_LONGEST_NAME} printable characters.")
    scopes = frozenset(Scope(scope) for scope in args.scope or _DEFAULT_SCOPES)
    expires_at = None if args.expires is None else shell.now + _life(args.expires)
    key = new_api_key()
    record = KeyRecord(key.id, name, key.secret_sha256, scopes, shell.now, expires_at, False)

    async def store() -> None:
        async with shell.store() as opened:
            await opened.add_key(record)

    asyncio.run(store())
    words = f"API key {key.id} for {name} ({_scopes(record)}), shown only this once:\n  {key.text}"
    show(_value(record) | {"key": key.text}, words, shell.as_json)
    return 0


def run_list(args: argparse.Namespace, shell: Shell) -> int:
    async def read() -> list[KeyRecord]:
        async with shell.store() as opened:
            return await opened.keys()

    records = asyncio.run(read())
    rows = [(key.id, key.name, _state(key, shell.now), _scopes(key), moment(key.expires_at)) for key in records]
    words = table(("ID", "NAME", "STATE", "SCOPES", "EXPIRES"), rows, "There is no API key.")
    show([_value(key) | {"state": _state(key, shell.now)} for key in records], words, shell.as_json)
    return 0


def run_revoke(args: argparse.Namespace, shell: Shell) -> int:
    async def change() -> KeyRecord:
        async with shell.store() as opened:
            living = [key for key in await opened.keys() if not key.revoked or key.id == args.key]
            key = pick(living, args.key, "key", lambda key: key.id, lambda key: key.name)
            await opened.revoke_key(key.id)
            return key

    key = asyncio.run(change())
    show({"id": key.id, "revoked": True}, f"The API key {key.id} ({key.name}) is useless now.", shell.as_json)
    return 0


def _life(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = -1.0
    if not _MIN_LIFE_S <= seconds <= _MAX_LIFE_S:
        raise ConfigError(f"--expires {text!r:.40} is not usable: it must be a duration from 1m to 3650d, such as 30d.")
    return seconds


def _state(key: KeyRecord, now: float) -> str:
    if key.revoked:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "good"


def _scopes(key: KeyRecord) -> str:
    return ", ".join(sorted(scope.value for scope in key.scopes))


def _value(key: KeyRecord) -> dict[str, Json]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(scope.value for scope in key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked": key.revoked,
    }

"""`init`: identity, database, first admin key. All of it or nothing; never over what is there."""

import argparse
import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from coordinator.cli.output import show
from coordinator.cli.shell import Shell, Subparsers, verb
from coordinator.config import NAME, PUBLIC, load_config
from coordinator.errors import StateError
from coordinator.own_addresses import reachable_addresses
from coordinator.records import KeyRecord, Scope
from coordinator.releases.store import ReleaseStore
from gogrid.addresses import DEFAULT_PORT, Address, parse_address
from gogrid.apikey import ApiKey, new_api_key
from gogrid.files import make_folder, write_whole
from gogrid.identity import Identity, create_identity, fingerprint, save_identity


def add(commands: Subparsers) -> None:
    parser = verb(commands, "init", run, "Make a new coordinator: its identity, its database and the first admin key.")
    parser.add_argument("--name", help="the name that workers and people see; default: this machine's")
    parser.add_argument(
        "--host",
        action="append",
        metavar="NAME[:PORT]",
        type=str,
        help="an address under which workers and clients reach it; may be given three times",
    )
    parser.add_argument(
        "--root-keys", metavar="FILE", help="the publisher's root-keys.json, by which updates are judged"
    )


def run(args: argparse.Namespace, shell: Shell) -> int:
    for host in args.host or ():
        parse_address(host)
    flags = {NAME.key: args.name, PUBLIC.key: args.host}
    config = load_config(shell.folder, flags, shell.environment)
    if (args.name or args.host) and shell.folder.config_file.exists() and not shell.folder.initialised:
        raise StateError(f"{shell.folder.config_file} exists; set name and public there instead of --name and --host.")
    shell.folder.begin()
    try:
        identity = create_identity(config.name, datetime.fromtimestamp(shell.now, UTC))
        key = new_api_key()
        asyncio.run(_make_database(shell, key))
        save_identity(identity, shell.folder.identity_key, shell.folder.identity_certificate)
        make_folder(shell.folder.blobs)
        if args.root_keys:
            ReleaseStore(shell.folder).trust(Path(args.root_keys).expanduser())
        if args.name or args.host:
            config_text = _config_text(args.name, args.host, reachable_addresses(config)[0].port).encode()
            write_whole(shell.folder.config_file, config_text, private=False, replace=False)
        shell.folder.finish()
    except BaseException:
        shell.folder.abandon()
        raise
    _tell(shell, config.name, identity, key, reachable_addresses(config)[0])
    return 0


async def _make_database(shell: Shell, key: ApiKey) -> None:
    from coordinator.store.sqlite_store import SqliteStore

    store = await SqliteStore.open(shell.folder.database)
    try:
        scopes = frozenset({Scope.ADMIN})
        await store.add_key(KeyRecord(key.id, "admin", key.secret_sha256, scopes, shell.now, None, False))
    finally:
        await store.close()


def _config_text(name: str | None, hosts: list[str] | None, port: int) -> str:
    lines = ["[coordinator]"]
    if port != DEFAULT_PORT:
        lines.append(f'listen = "0.0.0.0:{port}"')
    if name:
        lines.append(f"name = {json.dumps(name)}")
    if hosts:
        lines.append(f"public = {json.dumps(hosts)}")
    return "\n".join(lines) + "\n"


def _tell(shell: Shell, name: str, identity: Identity, key: ApiKey, address: Address) -> None:
    pin = identity.pin.hex()
    words_of_key = fingerprint(identity.key.public_key().public_bytes_raw())
    commands = [
        f"gogrid-coordinator serve{shell.data_flag}",
        f"gogrid-coordinator model add{shell.data_flag} FOLDER",
        f"gogrid-coordinator token create{shell.data_flag}",
        f"gogrid login https://{address} --pin {pin}",
    ]
    words = "\n".join(
        [
            f"The coordinator {name} is made in {shell.folder.root}.",
            f"Its fingerprint, as `gogrid login` shows it: {words_of_key}",
            "",
            "Admin key, shown only this once:",
            f"  {key.text}",
            "",
            "Start it:",
            f"  {commands[0]}",
            "Give it a model, a Hugging Face folder with safetensors or one .gguf file:",
            f"  {commands[1]}",
            "Let a machine join, with the token that this prints:",
            f"  {commands[2]}",
            "Use it from any machine (asks for a key):",
            f"  {commands[3]}",
        ]
    )
    show(
        {
            "data": str(shell.folder.root),
            "name": name,
            "pin": pin,
            "fingerprint": words_of_key,
            "key_id": key.id,
            "key": key.text,
            "next": commands,
        },
        words,
        shell.as_json,
    )

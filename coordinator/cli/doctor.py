"""`doctor`: what would keep the coordinator from working, one line each. Changes nothing."""

import argparse
import asyncio
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from coordinator.cli.output import show
from coordinator.cli.shell import Shell, Subparsers, verb
from coordinator.config import CoordinatorConfig, load_config
from coordinator.own_addresses import elsewhere, token_addresses
from coordinator.records import ModelRecord
from coordinator.state.folder import Serving
from gogrid.errors import GoGridError
from gogrid.identity import client_context, fingerprint, load_identity
from gogrid.sizes import format_size

_LEAST_FREE = 2 << 30
_SOON = timedelta(days=90)
_BUILT = datetime(2026, 1, 1, tzinfo=UTC)
_ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    ok: bool
    words: str


class _Trouble(Exception):
    pass


def add(commands: Subparsers) -> None:
    verb(commands, "doctor", run, "Check the state folder, database, models, identity, ports, clock, disk and updates.")


def run(args: argparse.Namespace, shell: Shell) -> int:
    config = load_config(shell.folder, {}, shell.environment)
    shell.folder.require()
    serving = shell.folder.read_serving()
    checks: list[tuple[str, Callable[[], str]]] = [
        ("state folder", lambda: f"{shell.folder.root} is private"),
        ("database", lambda: _database(shell)),
        ("models", lambda: _models(shell)),
        ("identity", lambda: _identity(shell)),
        ("clock", lambda: _clock(shell)),
        ("disk", lambda: _disk(shell)),
        ("updates", lambda: _updates(shell)),
    ]
    if serving is None:
        checks.append(("port", lambda: _port(config)))
    else:
        checks.append(("serving", lambda: _answers(shell, serving)))
        checks.append(("join tokens", lambda: _named(config, serving)))
    findings = [_check(name, check) for name, check in checks]
    words = "\n".join(f"{'ok ' if finding.ok else 'BAD'}  {finding.check}: {finding.words}" for finding in findings)
    show(
        [{"check": finding.check, "ok": finding.ok, "words": finding.words} for finding in findings],
        words,
        shell.as_json,
    )
    return 0 if all(finding.ok for finding in findings) else 1


def _check(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (_Trouble, GoGridError) as trouble:
        return Finding(name, False, str(trouble))
    except OSError as error:
        return Finding(name, False, f"{error.strerror or error}")


def _database(shell: Shell) -> str:
    from coordinator.store import sqlite

    async def read() -> str:
        async with shell.store() as store:
            return f"{len(await store.workers())} workers, {len(await store.models())} models"

    words = asyncio.run(read())
    engine = sqlite.read_engine(shell.folder.database, 1)
    try:
        with engine.connect() as connection:
            sqlite.check(connection)
    finally:
        engine.dispose()
    return f"whole; {words}"


def _models(shell: Shell) -> str:
    """Whether their files are there; reading every byte of them would take minutes."""
    from coordinator.models.catalogue import blobs_of
    from coordinator.state.blobs import BlobStore

    async def read() -> list[ModelRecord]:
        async with shell.store() as store:
            return await store.models()

    models, blobs = asyncio.run(read()), BlobStore(shell.folder.blobs)
    lacking = [
        f"{model.name} lacks {lost}"
        for model in models
        if (lost := sum(blobs.size(digest) is None for digest in blobs_of(model, blobs)))
    ]
    if lacking:
        raise _Trouble(
            f"files are missing in {shell.folder.blobs}: {', '.join(lacking)}; copy them back from a backup, or "
            "remove the model and add it again"
        )
    return f"the files of all {len(models)} are there"


def _updates(shell: Shell) -> str:
    """Whether machines can take what is offered: a timestamp that has expired stops them, and they say so late."""
    from coordinator.releases.store import ReleaseStore

    lines = ReleaseStore(shell.folder).read().lines
    offered = [(line, *line.offered) for line in lines if line.offered is not None]
    old = [f"{line.app} {line.channel}" for line, _, step in offered if step.expires <= shell.now]
    if old:
        raise _Trouble(
            f"the timestamp of {', '.join(old)} has expired, so machines install nothing; make a new one with "
            "`gogrid-release timestamp` and publish the folder again"
        )
    if not offered:
        return "none are offered"
    return ", ".join(f"{line.app} {release.version} to {step.percent} %" for line, release, step in offered)


def _identity(shell: Shell) -> str:
    identity = load_identity(shell.folder.identity_key, shell.folder.identity_certificate)
    now, ends = datetime.fromtimestamp(shell.now, UTC), identity.certificate.not_valid_after_utc
    if now >= ends - _SOON:
        raise _Trouble(f"valid only until {ends:%Y-%m-%d}; make a new coordinator and let the workers join it")
    words = fingerprint(identity.key.public_key().public_bytes_raw())
    return f"pin {identity.pin.hex()} ({words}), valid until {ends:%Y-%m-%d}"


def _clock(shell: Shell) -> str:
    now = datetime.fromtimestamp(shell.now, UTC)
    if now < _BUILT:
        raise _Trouble(f"this machine's clock says {now:%Y-%m-%d}, before this program was written; set it")
    return f"{now:%Y-%m-%d %H:%M} UTC"


def _disk(shell: Shell) -> str:
    free = shutil.disk_usage(shell.folder.root).free
    if free < _LEAST_FREE:
        raise _Trouble(f"only {format_size(free)} are free where {shell.folder.root} lies")
    return f"{format_size(free)} free"


def _port(config: CoordinatorConfig) -> str:
    if config.port == 0:
        return "any free one"
    for kind, name in ((socket.SOCK_DGRAM, "UDP"), (socket.SOCK_STREAM, "TCP")):
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        with socket.socket(family, kind) as probe:
            if kind is socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((config.host, config.port))
            except OSError as error:
                raise _Trouble(
                    f"{name} port {config.port} on {config.host} cannot be had: {error.strerror or error}; "
                    "choose another with --listen"
                ) from error
    return f"{config.port} is free for UDP and TCP; no coordinator runs here now"


def _named(config: CoordinatorConfig, serving: Serving) -> str:
    addresses = token_addresses(config, serving)
    doubt = elsewhere(addresses, serving.port)
    return f"they name {', '.join(map(str, addresses))}{f'; {doubt}' if doubt else ''}"


def _answers(shell: Shell, serving: Serving) -> str:
    import httpx

    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(serving.host, serving.host)  # noqa: S104  # compared with
    context = client_context(shell.folder.identity_certificate.read_bytes())
    url = f"https://{host}:{serving.port}/readyz"
    try:
        answer = httpx.get(url, verify=context, timeout=_ANSWER_S, trust_env=False)
    except httpx.HTTPError as error:
        raise _Trouble(f"process {serving.pid} holds the folder but {url} does not answer: {error}") from error
    if answer.status_code != 200:
        raise _Trouble(f"{url} says it is not ready: {answer.text[:300].strip()}")
    return f"process {serving.pid} answers at {url} that it is ready"

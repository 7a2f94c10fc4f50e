"""`worker list | approve | drain | undrain | release | revoke`: the machines that joined.

Works on the database, so it also works while no coordinator runs; a running one takes notice within a second. What
workers are doing right now is shown by `gogrid workers`.
"""

import argparse
import asyncio

from coordinator.cli.output import Json, moment, show, table
from coordinator.cli.shell import Shell, Subparsers, group, pick, verb
from coordinator.errors import ConflictError
from coordinator.records import WorkerRecord, WorkerStatus
from coordinator.store.base import Store
from gogrid.identity import fingerprint


def add(commands: Subparsers) -> None:
    verbs = group(commands, "worker", "The machines that joined.")
    verb(verbs, "list", run_list, "Show every worker that joined, with its key's fingerprint.")
    for name, words in (
        ("approve", "Let a worker that waits for approval work."),
        ("drain", "Give a worker no new jobs."),
        ("undrain", "Give a drained worker jobs again."),
        ("release", "Let a worker out of quarantine: give it jobs again although they crashed on it."),
        ("revoke", "Shut a worker out for good; it may come back only with a new token."),
    ):
        verb(verbs, name, run_change, words).add_argument("worker", help="its id or name")
        verbs.choices[name].set_defaults(change=name)


def run_list(args: argparse.Namespace, shell: Shell) -> int:
    async def read() -> list[WorkerRecord]:
        async with shell.store() as opened:
            return await opened.workers()

    records = asyncio.run(read())
    rows = [
        (worker.id, worker.name, _state(worker), moment(worker.joined_at), fingerprint(worker.public_key))
        for worker in records
    ]
    words = table(("ID", "NAME", "STATE", "JOINED", "FINGERPRINT"), rows, "No machine has joined yet.")
    show([_value(worker) for worker in records], words, shell.as_json)
    return 0


def run_change(args: argparse.Namespace, shell: Shell) -> int:
    async def change() -> WorkerRecord:
        async with shell.store() as store:
            worker = await _find(store, args.worker)
            await _CHANGES[args.change](store, worker)
            return await _find(store, worker.id)

    changed = asyncio.run(change())
    show(_value(changed), f"{changed.name} ({changed.id}) is {_state(changed)} now.", shell.as_json)
    return 0


async def _find(store: Store, given: str) -> WorkerRecord:
    return pick(await store.workers(), given, "worker", lambda worker: worker.id, lambda worker: worker.name)


async def _approve(store: Store, worker: WorkerRecord) -> None:
    if worker.status is WorkerStatus.REVOKED:
        raise ConflictError(f"{worker.name} was revoked; let it join again with a new token.")
    await store.set_worker_status(worker.id, WorkerStatus.APPROVED)


async def _revoke(store: Store, worker: WorkerRecord) -> None:
    await store.set_worker_status(worker.id, WorkerStatus.REVOKED)


async def _drain(store: Store, worker: WorkerRecord) -> None:
    await store.set_worker_draining(worker.id, True)


async def _undrain(store: Store, worker: WorkerRecord) -> None:
    await store.set_worker_draining(worker.id, False)


async def _release(store: Store, worker: WorkerRecord) -> None:
    if not worker.quarantined:
        raise ConflictError(f"{worker.name} is not in quarantine; nothing was changed.")
    await store.set_worker_health(worker.id, (), "")


_CHANGES = {
    "approve": _approve,
    "drain": _drain,
    "undrain": _undrain,
    "release": _release,
    "revoke": _revoke,
}


def _state(worker: WorkerRecord) -> str:
    drained = ", drained" if worker.draining else ""
    quarantined = f", quarantined: {worker.quarantined}" if worker.quarantined else ""
    return worker.status.value + drained + quarantined


def _value(worker: WorkerRecord) -> dict[str, Json]:
    return {
        "id": worker.id,
        "name": worker.name,
        "status": worker.status.value,
        "draining": worker.draining,
        "quarantined": worker.quarantined,
        "joined_at": worker.joined_at,
        "token_id": worker.token_id,
        "fingerprint": fingerprint(worker.public_key),
    }

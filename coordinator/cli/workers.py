"""`worker list | approve | drain | undrain | release | revoke`: the machines that joined.

Works on the database, so it also works while no coordinator runs; a running one takes notice within a second. What
workers do right now comes from the coordinator that runs on this folder; where none does, `list` says so.
"""

import argparse
import asyncio
from typing import TYPE_CHECKING

from coordinator.cli.output import Json, moment, show, table
from coordinator.cli.shell import Shell, Subparsers, group, pick, verb
from coordinator.errors import ConflictError
from coordinator.records import WorkerRecord, WorkerStatus
from coordinator.store.base import Store
from gogrid.identity import fingerprint
from gogrid.terminal import one_line

if TYPE_CHECKING:
    from coordinator.http.native_schema import WorkerShape


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

    from coordinator.local_channel import NoCoordinatorError, ask_workers  # no other command needs it

    records, note = asyncio.run(read()), ""
    live: dict[str, WorkerShape] = {}
    if records:
        try:
            live = {worker.id: worker for worker in ask_workers(shell.folder.admin_socket)}
        except NoCoordinatorError as error:
            note = f"\nWhat they do now is not known: {one_line(str(error)).rstrip('.')}."
    rows = [
        (
            worker.id,
            worker.name,
            _state(worker),
            *_now(live.get(worker.id)),
            moment(worker.joined_at),
            fingerprint(worker.public_key),
        )
        for worker in records
    ]
    headings = ("ID", "NAME", "STATE", "NOW", "SPEED", "JOINED", "FINGERPRINT")
    words = table(headings, rows, "No machine has joined yet.") + note
    show([{**_value(worker), "now": _now_value(live.get(worker.id))} for worker in records], words, shell.as_json)
    return 0


def _now(worker: "WorkerShape | None") -> tuple[str, str]:
    """What it does, and how fast it is."""
    if worker is None:
        return "-", "-"
    why = "" if worker.reason in (worker.readiness, "not connected") else f": {worker.reason}"
    jobs = f", {worker.running} running" * bool(worker.running)
    speed = "-" if worker.speed is None else f"{worker.speed.tokens_per_s:.0f} tokens/s"
    return one_line(f"{'silent' if worker.silent else worker.readiness}{jobs}{why}"), speed


def _now_value(worker: "WorkerShape | None") -> dict[str, Json] | None:
    if worker is None:
        return None
    speed = worker.speed
    return {
        "connected": worker.connected,
        "silent": worker.silent,
        "readiness": worker.readiness,
        "reason": worker.reason,
        "running": worker.running,
        "tokens_per_s": None if speed is None else speed.tokens_per_s,
        "stream_tokens_per_s": None if speed is None else speed.stream_tokens_per_s,
    }


def run_change(args: argparse.Namespace, shell: Shell) -> int:
    async def change() -> tuple[WorkerRecord, WorkerRecord]:
        """Before and after."""
        async with shell.store() as store:
            worker = await _find(store, args.worker)
            if worker.status is WorkerStatus.REVOKED and args.change != "revoke":
                raise ConflictError(f"{worker.name} ({worker.id}) was revoked; let it join again with a new token.")
            await _CHANGES[args.change](store, worker)
            return worker, await _find(store, worker.id)

    before, changed = asyncio.run(change())
    said = f"was {_state(changed)} already" if before == changed else f"is {_state(changed)} now"
    show(_value(changed), f"{changed.name} ({changed.id}) {said}.", shell.as_json)
    return 0


async def _find(store: Store, given: str) -> WorkerRecord:
    """One that was revoked does not stand in the way of its successor."""
    return pick(
        await store.workers(),
        given,
        "worker",
        lambda worker: worker.id,
        lambda worker: worker.name,
        lambda worker: worker.status is WorkerStatus.REVOKED,
    )


async def _approve(store: Store, worker: WorkerRecord) -> None:
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

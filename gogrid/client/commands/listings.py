"""`gogrid models` and `gogrid workers`: what there is, as tables."""

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gogrid.client.answers import CatalogueModel, Device, Worker
from gogrid.client.commands.options import command
from gogrid.client.shell import Exit, Shell
from gogrid.client.tables import table
from gogrid.moments import shown_moment
from gogrid.sizes import format_size

if TYPE_CHECKING:
    from gogrid.client.shell import Commands

_SHORT_ID = 7
"""Characters at least: `wk_3f2a`."""


def add(commands: "Commands") -> None:
    command(commands, "models", "list the models you can use", models)
    command(commands, "workers", "list the workers and what each is doing", workers)


def models(arguments: argparse.Namespace, shell: Shell) -> int:
    with shell.client() as client:
        found = client.catalogue()
    if shell.json:
        shell.value(found)
    elif not found:
        shell.note("There are no models yet: the admin adds one with `gogrid-coordinator model add`.")
    else:
        shell.text(table(("MODEL", "KIND", "SIZE", "NEEDS", "CONTEXT", "LOADED ON"), [_model(each) for each in found]))
    return Exit.DONE


def workers(arguments: argparse.Namespace, shell: Shell) -> int:
    with shell.client() as client:
        found = client.workers()
    if shell.json:
        shell.value(found)
    elif not found:
        shell.note("There are no workers yet: the admin makes a join token with `gogrid-coordinator token create`.")
    else:
        names = told_apart(found)
        rows = [(name, *_worker(each)) for name, each in zip(names, found, strict=True)]
        shell.text(table(("WORKER", "STATE", "JOBS", "DEVICE", "MODELS", "WHY"), rows))
    return Exit.DONE


def _model(model: CatalogueModel) -> tuple[str, ...]:
    return (
        model.name,
        model.kind,
        format_size(model.size_bytes),
        format_size(model.memory_bytes),
        f"{model.context_length} tokens",
        ", ".join(model.workers),
    )


def told_apart(workers: Sequence[Worker]) -> list[str]:
    """Their names; where several bear one, each with as much of its id as tells them apart, and when it joined."""
    often = Counter(worker.name for worker in workers)
    return [worker.name if often[worker.name] == 1 else _in_full(worker, workers) for worker in workers]


def _in_full(worker: Worker, workers: Sequence[Worker]) -> str:
    others = [other.id for other in workers if other.id != worker.id]
    lengths = range(_SHORT_ID, len(worker.id))
    shown = next((n for n in lengths if not any(o[:n] == worker.id[:n] for o in others)), len(worker.id))
    joined = "" if worker.joined_at is None else f", joined {shown_moment(worker.joined_at, '%Y-%m-%d %H:%M')}"
    return f"{worker.name} ({worker.id[:shown]}{joined})"


def _worker(worker: Worker) -> tuple[str, ...]:
    state = "silent" if worker.silent else worker.readiness
    if worker.status != "approved":
        state = worker.status
    elif worker.quarantined:
        state = "quarantined"
    usable = [_device(device) for device in worker.devices if device.usable]
    return (state, str(worker.running), ", ".join(usable), ", ".join(worker.models), worker.reason)


def _device(device: Device) -> str:
    return f"{device.name} ({format_size(device.cap_bytes)})"

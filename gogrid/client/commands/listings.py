"""`gogrid models` and `gogrid workers`: what there is, as tables."""

import argparse
from typing import TYPE_CHECKING

from gogrid.client.answers import CatalogueModel, Device, Worker
from gogrid.client.commands.options import command
from gogrid.client.shell import Exit, Shell
from gogrid.client.tables import table
from gogrid.sizes import format_size

if TYPE_CHECKING:
    from gogrid.client.shell import Commands


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
        rows = [_worker(each) for each in found]
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


def _worker(worker: Worker) -> tuple[str, ...]:
    state = "silent" if worker.silent else worker.readiness
    if worker.status != "approved":
        state = worker.status
    elif worker.quarantined:
        state = "quarantined"
    usable = [_device(device) for device in worker.devices if device.usable]
    return (worker.name, state, str(worker.running), ", ".join(usable), ", ".join(worker.models), worker.reason)


def _device(device: Device) -> str:
    return f"{device.name} ({format_size(device.cap_bytes)})"

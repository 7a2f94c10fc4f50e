"""`model add | list | remove`: what can be asked for."""

import argparse
import asyncio
from pathlib import Path

from coordinator.cli.output import Json, moment, show, table
from coordinator.cli.shell import Shell, Subparsers, group, verb
from coordinator.models.catalogue import ECHO, blobs_of, check_name, publish, unpublish
from coordinator.models.folder import inspect_model
from coordinator.records import ModelRecord
from coordinator.state.blobs import BlobStore
from gogrid.errors import ConfigError
from gogrid.sizes import format_size


def add(commands: Subparsers) -> None:
    verbs = group(commands, "model", "The models that can be asked for.")
    adding = verb(verbs, "add", run_add, "Take a model: a Hugging Face folder with safetensors, or a .gguf file.")
    adding.add_argument("path", nargs="?", help="the folder or file; it is copied")
    adding.add_argument("--name", help="what clients call it; default: the name of the folder or file")
    adding.add_argument("--engine", choices=("torch", "echo"), default="torch", help=argparse.SUPPRESS)
    verb(verbs, "list", run_list, "Show the models.")
    removing = verb(verbs, "remove", run_remove, "Forget a model and delete its files here.")
    removing.add_argument("name")


def run_add(args: argparse.Namespace, shell: Shell) -> int:
    if args.engine == "echo":
        if args.path is not None:
            raise ConfigError("--engine echo takes no path: the echo engine has no files.")
        source, name = ECHO, args.name or "echo"
    else:
        if not args.path:
            raise ConfigError("model add needs the path of a model folder or of a .gguf file.")
        path = Path(args.path).expanduser().absolute()
        name = args.name or (path.stem if path.suffix == ".gguf" else path.name)
        check_name(name)
        shell.folder.require()
        source = inspect_model(path)

    async def take() -> tuple[ModelRecord, bool]:
        """The model, and whether it was there before."""
        async with shell.store() as store:
            blobs = BlobStore(shell.folder.blobs)
            before = {model.name: model.digest for model in await store.models()}
            record = await asyncio.to_thread(publish, source, name, blobs, shell.now)
            await store.add_model(record)
            # A `model remove` that ran meanwhile may have deleted a file that both models have.
            if any(blobs.size(digest) is None for digest in blobs_of(record, blobs)):
                await asyncio.to_thread(publish, source, name, blobs, shell.now)
            return record, before.get(name) == record.digest

    record, known = asyncio.run(take())
    done = "was there already, with the same files" if known else "is added"
    words = (
        f"{record.name} {done}: {record.kind.value}, {format_size(record.size_bytes)}, context "
        f"{record.context_length}, needs about {format_size(record.memory_bytes)} of memory on a worker."
    )
    show(_value(record), words, shell.as_json)
    return 0


def run_list(args: argparse.Namespace, shell: Shell) -> int:
    async def read() -> list[ModelRecord]:
        async with shell.store() as store:
            return await store.models()

    records = asyncio.run(read())
    rows = [
        (
            model.name,
            model.kind.value,
            format_size(model.size_bytes),
            format_size(model.memory_bytes),
            str(model.context_length),
            moment(model.added_at),
        )
        for model in records
    ]
    words = table(
        ("NAME", "KIND", "SIZE", "MEMORY", "CONTEXT", "ADDED"),
        rows,
        "No model was added yet; `gogrid-coordinator model add PATH` adds one.",
    )
    show([_value(model) for model in records], words, shell.as_json)
    return 0


def run_remove(args: argparse.Namespace, shell: Shell) -> int:
    async def drop() -> ModelRecord:
        async with shell.store() as store:
            removed = await store.remove_model(args.name)
            await unpublish(removed, store, BlobStore(shell.folder.blobs))
            return removed

    removed = asyncio.run(drop())
    show({"name": removed.name, "removed": True}, f"{removed.name} is removed.", shell.as_json)
    return 0


def _value(model: ModelRecord) -> dict[str, Json]:
    return {
        "name": model.name,
        "kind": model.kind.value,
        "engine": model.engine,
        "digest": model.digest,
        "size_bytes": model.size_bytes,
        "memory_bytes": model.memory_bytes,
        "context_length": model.context_length,
        "width": model.width,
        "added_at": model.added_at,
    }

"""What every command is given: the state folder, the environment, the time; and the database while it needs it."""

import argparse
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from coordinator.errors import NotFoundError
from coordinator.state.folder import StateFolder
from coordinator.store.base import Store

T = TypeVar("T")
SHORT_ID = 7
"""Characters of an id that name a thing, if no other begins like this: `wk_3f2a`."""


@dataclass(frozen=True, slots=True)
class Shell:
    folder: StateFolder
    environment: Mapping[str, str]
    now: float
    """Wall clock at the start of the command, seconds since 1970."""
    as_json: bool
    data_flag: str
    """` --data PATH` if the folder was named on the command line: for the commands that are printed."""

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The database, also beside a running coordinator.

        Raises:
            StateError: there is none, or it cannot be used.
        """
        from coordinator.store.sqlite_store import SqliteStore  # so that --help is quick

        self.folder.require()
        store = await SqliteStore.open(self.folder.database)
        try:
            yield store
        finally:
            await store.close()


class Handler(Protocol):
    def __call__(self, args: argparse.Namespace, shell: Shell) -> int: ...


Subparsers = Any
"""What `add_subparsers` returns; argparse gives its type no public name."""


def verb(subparsers: Subparsers, name: str, handler: Handler, words: str) -> argparse.ArgumentParser:
    """A command with the options that all commands have."""
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=words, description=words, allow_abbrev=False)
    everywhere(parser, argparse.SUPPRESS)
    parser.set_defaults(handler=handler)
    return parser


def everywhere(parser: argparse.ArgumentParser, default: object) -> None:
    """The options that may stand before the command as well as behind it; `default` None: those before it."""
    parser.add_argument("--data", metavar="FOLDER", default=default, help="the coordinator's state folder")
    parser.add_argument("--json", action="store_true", default=default, help="print one JSON value")


def group(subparsers: Subparsers, name: str, words: str) -> Subparsers:
    """A command that has commands: `token create`."""
    parser = subparsers.add_parser(name, help=words, description=words, allow_abbrev=False)
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def pick(records: Sequence[T], given: str, what: str, id_of: Callable[[T], str], name_of: Callable[[T], str]) -> T:
    """The record with this id, or the only one with this name, or the only one whose id begins like this.

    Raises:
        NotFoundError: there is none, or several have the name.
    """
    for record in records:
        if id_of(record) == given:
            return record
    named = [record for record in records if name_of(record) == given]
    begun = [record for record in records if len(given) >= SHORT_ID and id_of(record).startswith(given)]
    if not named and len(begun) == 1:
        return begun[0]
    if not named:
        raise NotFoundError(f"There is no {what} {given}; `gogrid-coordinator {what} list` shows them.")
    if len(named) > 1:
        raise NotFoundError(f"{len(named)} {what}s are called {given}; give the id: {', '.join(map(id_of, named))}.")
    return named[0]

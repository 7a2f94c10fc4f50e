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
    """` --data PATH`, quoted where need be, if it was given on the command line: for the commands that are printed."""

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


def pick(
    records: Sequence[T],
    given: str,
    what: str,
    id_of: Callable[[T], str],
    name_of: Callable[[T], str],
    revoked: Callable[[T], bool] = lambda _record: False,
) -> T:
    """The record with this id, or the only one with this name, or the only one whose id begins like this.

    Args:
        revoked: such a record does not stand in the way of one that is not; it is found where no other is.

    Raises:
        NotFoundError: there is none, or several have the name.
    """
    if not given.strip():
        raise NotFoundError(f"Give the {what}'s name or id; `gogrid-coordinator {what} list` shows them.")
    for record in records:
        if id_of(record) == given:
            return record
    living = _alike([record for record in records if not revoked(record)], given, id_of, name_of)
    found = living or _alike([record for record in records if revoked(record)], given, id_of, name_of)
    if not found:
        raise NotFoundError(f"There is no {what} {given}; `gogrid-coordinator {what} list` shows them.")
    if len(found) > 1 and not living:
        raise NotFoundError(f"All {len(found)} {what}s that are called {given} were revoked; nothing was changed.")
    if len(found) > 1:
        raise NotFoundError(f"{len(found)} {what}s are called {given}; give the id: {', '.join(map(id_of, found))}.")
    return found[0]


def _alike(records: Sequence[T], given: str, id_of: Callable[[T], str], name_of: Callable[[T], str]) -> list[T]:
    """Those with this name, else the only one whose id begins like this."""
    named = [record for record in records if name_of(record) == given]
    begun = [record for record in records if len(given) >= SHORT_ID and id_of(record).startswith(given)]
    return named or (begun if len(begun) == 1 else [])

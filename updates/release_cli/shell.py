"""What every command is given and how it speaks: words for people, or one JSON value; an error in one line."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol

import msgspec

Json = None | bool | int | float | str | Sequence["Json"] | dict[str, "Json"]
Subparsers = Any
"""What `add_subparsers` returns; argparse gives its type no public name."""
DAY_S = 86400


@dataclass(frozen=True, slots=True)
class Shell:
    now: float
    """Wall clock at the start of the command, seconds since 1970."""
    as_json: bool


class Handler(Protocol):
    def __call__(self, args: argparse.Namespace, shell: Shell) -> int: ...


class Parser(argparse.ArgumentParser):
    """Wrong usage is one line on standard error and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see `{self.prog} --help`)\n")


def verb(subparsers: Subparsers, name: str, handler: Handler, words: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=words, description=words, allow_abbrev=False)
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON value")
    parser.set_defaults(handler=handler)
    return parser


def show(value: Json, words: str, shell: Shell) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False) if shell.as_json else words)


def complain(sentence: str) -> None:
    """One line on standard error; characters that would steer a terminal are shown as text."""
    line = " ".join(sentence.split())
    print("gogrid-release: " + "".join(c if c.isprintable() else repr(c)[1:-1] for c in line), file=sys.stderr)


def document(value: dict[str, Json]) -> bytes:
    """The bytes that are signed: readable JSON, always the same for the same value."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def moment(seconds: float) -> str:
    """`2026-11-22T01:30:00Z`."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def whole(low: int, high: int) -> Callable[[str], int]:
    """An argparse type: a whole number within bounds."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return parse


def days(text: str) -> int:
    """An argparse type: `90d` in seconds."""
    number = text.removesuffix("d")
    if not text.endswith("d") or not (number.isascii() and number.isdecimal()) or not 1 <= int(number) <= 3650:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1d to 3650d")
    return int(number) * DAY_S


def fits(text: str, kind: object) -> bool:
    """Whether a text is what a document's field may be: `Version` and its like of `trust.documents`."""
    try:
        msgspec.convert(text, kind)
    except msgspec.ValidationError:
        return False
    return True


def shaped(kind: object, words: str) -> Callable[[str], str]:
    """An argparse type: a text that a document's field may be. `words`: what that is."""

    def parse(text: str) -> str:
        if not fits(text, kind):
            raise argparse.ArgumentTypeError(f"{text!r} is not {words}")
        return text

    return parse

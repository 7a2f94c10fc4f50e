"""Parsers of option values: what argparse calls them with, and what they say about a bad one."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from gogrid.client.shell import Action
from gogrid.sizes import parse_duration, parse_size

if TYPE_CHECKING:
    from gogrid.client.shell import Commands

T = TypeVar("T")


def command(commands: "Commands", name: str, summary: str, action: Action) -> argparse.ArgumentParser:
    """A new command with what every command has."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print JSON for programs instead of text for people")
    parser.set_defaults(action=action, failure=0)
    return parser


def size(text: str) -> int:
    """Bytes, more than none."""
    return _positive(_saying(parse_size, text), "a size such as 512MB, 2GB or 2GiB")


def seconds(text: str) -> float:
    return _positive(_saying(parse_duration, text), "a duration such as 90s, 15m or 2h")


def between(parse: Callable[[str], float], low: float, high: float, words: str) -> Callable[[str], float]:
    """What `parse` reads, if it lies in the range that `words` name."""

    def checked(text: str) -> float:
        value = parse(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not usable: it must be {words}")
        return value

    return checked


def number(low: float, high: float) -> Callable[[str], float]:
    """Numbers from `low` to `high`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not usable: it must be a number from {low:g} to {high:g}")
        return value

    return parse


def whole(low: int, high: int) -> Callable[[str], int]:
    """Whole numbers from `low` to `high`."""

    def parse(text: str) -> int:
        digits = text.removeprefix("-")
        value = int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not usable: it must be a whole number from {low} to {high}")
        return value

    return parse


def _saying(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not usable: it must be {error}") from error


def _positive(value: T, allowed: str) -> T:
    if not value:
        raise argparse.ArgumentTypeError(f"0 is not usable: it must be {allowed}, more than nothing")
    return value

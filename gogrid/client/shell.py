"""The command line's surroundings: streams, environment, exit codes. Commands print only through it.

Promises: text from elsewhere reaches the terminal only after `visible`; `--json` output is one JSON value a line on
standard output and nothing else there; messages for people go to standard error.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, TextIO

import msgspec

from gogrid.client.client import GoGrid
from gogrid.terminal import one_line, visible

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    """What a command adds its parser to."""


_ESCAPE = "surrogateescape"


class Exit(IntEnum):
    """What every command's exit code means; `gogrid run` passes on the script's own."""

    DONE = 0
    REFUSED = 1
    """The coordinator refused, or the work failed."""
    CANNOT = 2
    """Wrong usage, no login, or no way to the coordinator."""
    GOGRID_FAILED = 125
    """`gogrid run` only: the script has no exit code, because GoGrid could not run it to its end."""
    INTERRUPTED = 130


class UsageError(Exception):
    """The arguments are wrong in a way that the parser cannot see; one sentence."""


@dataclass(frozen=True, slots=True)
class Shell:
    environment: Mapping[str, str]
    json: bool
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO

    def client(self) -> GoGrid:
        """Raises: ProfileError."""
        return GoGrid.from_login(self.environment)

    def text(self, text: str) -> None:
        """Text from elsewhere, as it comes."""
        self.stdout.write(visible(text))
        self.stdout.flush()

    def line(self, text: str) -> None:
        self.text(text + "\n")

    def value(self, value: object) -> None:
        """One JSON value, on a line of its own."""
        self.stdout.write(msgspec.json.encode(value).decode() + "\n")
        self.stdout.flush()

    def note(self, sentence: str) -> None:
        """For people; not part of the result."""
        self.stderr.write(one_line(sentence) + "\n")
        self.stderr.flush()

    def failure(self, sentence: str, code: str) -> None:
        """Why nothing came of it: a sentence for people, or an object for programs."""
        if self.json:
            sentence = sentence.encode(errors="backslashreplace").decode()
            self.stderr.write(msgspec.json.encode({"error": {"code": code, "message": sentence}}).decode() + "\n")
            self.stderr.flush()
        else:
            self.note(f"gogrid: {sentence}")

    @property
    def asks(self) -> bool:
        """Whether somebody is there who can answer a question."""
        return self.stdin.isatty() and self.stderr.isatty()


def is_text(typed: str) -> bool:
    """Whether this can be sent: bytes that were no text reach us as halves of surrogate pairs."""
    return typed.isprintable() or not any(0xD800 <= ord(character) < 0xE000 for character in typed)


Action = Callable[[argparse.Namespace, Shell], int]


def standard_shell(environment: Mapping[str, str], as_json: bool) -> Shell:
    """The process's own streams; characters that its encoding lacks are escaped, never an error.

    Bytes of the input that are no text become what `is_text` refuses, whatever the locale.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    decoding = getattr(sys.stdin, "reconfigure", None)
    if decoding is not None and sys.stdin.errors != _ESCAPE:
        decoding(errors=_ESCAPE)
    return Shell(environment, as_json, sys.stdin, sys.stdout, sys.stderr)

"""argparse as people expect it: one line for an error, options and words in any order, and `--` before the rest."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

REST = "rest"
"""Where a parser that takes words after `--` finds them in its namespace."""


class CommandParser(argparse.ArgumentParser):
    """Used for the program and for each command."""

    _inside = False

    def error(self, message: str) -> NoReturn:
        """One line on standard error, exit code 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see `{self.prog} --help`)\n")

    def require_text(self, words: Sequence[str]) -> None:
        """Refuse words that are not text: nothing could be printed or sent with them."""
        for word in words:
            if not word.isprintable() and any(0xD800 <= ord(character) < 0xE000 for character in word):
                self.error(f"{word!a} is not UTF-8 text")

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]  # three overloads
        """Options may stand between the words; argparse's own subcommands do not do that."""
        self.require_text(sys.argv[1:] if args is None else args)
        if self._inside or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False


def parse(parser: CommandParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse a whole command line; exits with code 2 and one line if it is wrong."""
    at = argv.index("--") if "--" in argv else len(argv)
    namespace: argparse.Namespace
    unknown: list[str]
    namespace, unknown = parser.parse_known_args(list(argv[:at]))  # type: ignore[no-untyped-call]
    if unknown:
        hint = "; options of your own program go behind --" if hasattr(namespace, REST) else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if at < len(argv):
        parser.require_text(argv[at:])
        if not hasattr(namespace, REST):
            parser.error("this command takes nothing after --")
        setattr(namespace, REST, [*getattr(namespace, REST), *argv[at + 1 :]])
    return namespace

"""argparse as people expect it: one line for an error, options and words in any order, and `--` before the rest."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from gogrid.config import nearest

_REQUIRED = "the following arguments are required: "
_ALIKE = 0.7
"""An option of somebody's own program is not taken for one of ours."""
REST = "rest"
"""Where a parser that takes words after `--` finds them in its namespace."""


class CommandParser(argparse.ArgumentParser):
    """Used for the program and for each command."""

    _inside = False
    _usage: str | None = None
    """Its own, which argparse replaces while options and words may be mixed."""
    passes_on = False
    """Whether what is unknown to it goes to somebody who may know it."""

    def error(self, message: str) -> NoReturn:
        """One line on standard error, exit code 2."""
        if message.startswith(_REQUIRED):
            message = self._incomplete(message.removeprefix(_REQUIRED))
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see `{self.prog} --help`)\n")

    def _incomplete(self, missing: str) -> str:
        names = [name if name.startswith("-") else name.upper() for name in missing.split(", ")]
        what = "a COMMAND is" if self._subparsers else f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"
        return (
            f"{what} missing; type: {self._usage or ' '.join([self.prog, *filter(None, map(_shape, self._actions))])}"
        )

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """The word that was likely meant, where argparse lists all that are allowed."""
        if action.choices is not None and value not in action.choices:
            meant = nearest(str(value), [str(choice) for choice in action.choices])
            if meant:
                about = None if isinstance(action, argparse._SubParsersAction) else action
                raise argparse.ArgumentError(about, f"there is no {value!r}; did you mean {meant}?")
        super()._check_value(action, value)

    def _refuse_near_miss(self, unknown: Sequence[str]) -> None:
        known = {option.lstrip("-"): option for option in self._option_string_actions if option.startswith("--")}
        for word in unknown:
            name = word.partition("=")[0]
            meant = nearest(name.lstrip("-"), list(known), _ALIKE) if name.startswith("--") else ""
            if meant:
                hint = "; options of your own program go behind --" if self.get_default(REST) is not None else ""
                self.error(f"there is no option {name}; did you mean {known[meant]}?{hint}")

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
        self._inside, self._usage = True, self.usage
        try:
            parsed, unknown = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False
        if not self.passes_on:
            self._refuse_near_miss(unknown)
        return parsed, unknown


def _shape(action: argparse.Action) -> str:
    """What has to be typed for it; empty for an option that may be left out."""
    if isinstance(action, argparse._SubParsersAction):
        return "|".join(action.choices)
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.option_strings:
        return f"{action.option_strings[0]} {name}" if action.required else ""
    if action.choices is not None:
        name = "|".join(map(str, action.choices))
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}.get(str(action.nargs), name)


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

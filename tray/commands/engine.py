"""`engine list|install|verify|remove`: the engine packs that an installed worker's models and scripts import from.

A running worker takes up another pack when it starts again.
"""

import argparse
import re
import subprocess
from pathlib import Path

import msgspec

from gogrid.arguments import CommandParser
from gogrid.errors import GoGridError
from gogrid.sizes import format_size
from runner.control_messages import AskStatus, WorkerStatus
from tray.commands.base import REFUSED, Command, Context, FailedError, maybe_running, say
from tray.runner_command import runner_command

_LIST = "The engine packs on disk, and which one is used."
_INSTALL = "Verify an engine pack and unpack it."
_VERIFY = "Read every file of every engine pack and compare it with its manifest."
_REMOVE = "Remove an engine pack."


class _Pack(msgspec.Struct, frozen=True):
    sha256: str
    label: str
    bytes: int
    used: bool


class _Packs(msgspec.Struct, frozen=True):
    packs: tuple[_Pack, ...]
    wrong: tuple[str, ...] = ()
    now: str = ""
    """What the running worker does about its engine."""


def _words(parser: CommandParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=CommandParser)
    for name, words in (("list", _LIST), ("install", _INSTALL), ("verify", _VERIFY), ("remove", _REMOVE)):
        own = verbs.add_parser(name, help=words, description=words, allow_abbrev=False)
        own.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="machine-readable output")
        if name == "install":
            own.add_argument("file", type=Path, help="the pack, a .zip")
            own.add_argument(
                "--digest",
                metavar="HEX",
                help="its SHA-256; needed where FILE.minisig or its publisher's keys are not at hand",
            )
        if name == "remove":
            own.add_argument("pack", help="the first digits of its SHA-256, as `engine list` shows it")


def _run(options: argparse.Namespace, context: Context) -> int:
    words = [options.verb]
    if options.verb == "install":
        if options.digest is not None and not re.fullmatch(r"[0-9a-f]{64}", options.digest):
            raise GoGridError(f"--digest {options.digest!r} is not usable: it must be 64 digits 0-9 a-f.")
        if not options.file.exists():
            raise GoGridError(f"{options.file} does not exist; name the engine pack's .zip.")
        words += [str(options.file.absolute()), *([options.digest] if options.digest else [])]
    if options.verb == "remove":
        words.append(options.pack)
    command = runner_command(["engine", *context.shared, "--json", "--", *words])
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if not done.stdout:
        raise FailedError(done.returncode)
    found = msgspec.json.decode(done.stdout, type=_Packs)
    status = maybe_running(context, AskStatus()) if options.verb == "list" else None
    if isinstance(status, WorkerStatus):
        found = msgspec.structs.replace(found, now=status.engine)
    say(options.json, found, _text(options.verb, found))
    return REFUSED if found.wrong else 0


def _text(verb: str, found: _Packs) -> str:
    done = {"install": "installed ", "remove": "removed ", "verify": "whole: "}.get(verb, "")
    lines = [
        f"{done}{pack.sha256[:12]}  {format_size(pack.bytes):>8}  {pack.label}{'  (used)' if pack.used else ''}"
        for pack in found.packs
    ]
    lines += [f"WRONG  {words}" for words in found.wrong]
    if found.now:
        lines.append(found.now)
    return "\n".join(lines) or "no engine packs on disk"


ENGINE = Command("engine", "The engine packs of this machine: list, install, verify, remove.", _words, _run)

"""docs/commands.md names every command and every flag of the four programs, and none that they do not have."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.cli.main import _parser as coordinator_parser
from gogrid.client.cli import parser as gogrid_parser
from runner.__main__ import _parser as runner_parser
from tray.cli import main_parser as worker_parser
from tray.commands.registry import command_parser
from updates.release_cli.main import _parser as release_parser

ROOT = Path(__file__).parents[2]
EVERYWHERE = {
    "gogrid": {"--json", "--help", "-h", "--version"},
    "gogrid-coordinator": {"--json", "--data", "--help", "-h", "--version"},
    "gogrid-release": {"--json", "--help", "-h", "--version"},
    "gogrid-worker": {"--json", "--data", "--config", "--help", "-h", "--headless", "--version"},
}
"""Flags that the program's own section explains once."""


def leaves(parser: argparse.ArgumentParser) -> Iterator[tuple[str, set[str]]]:
    """Each command that can be run, and its flags."""
    commands = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in commands:
        for inner in action.choices.values():
            yield from leaves(inner)
    if not commands:
        yield parser.prog, flags(parser)


def flags(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions if action.help != argparse.SUPPRESS for flag in action.option_strings}


def worker_leaves() -> Iterator[tuple[str, set[str]]]:
    """Without a command the worker hands the settings' flags on to the runner."""
    yield "gogrid-worker --headless", (flags(runner_parser()) | flags(worker_parser())) - {"--name"}
    yield from leaves(command_parser())


COMMANDS = dict([*leaves(gogrid_parser()), *leaves(coordinator_parser()), *leaves(release_parser()), *worker_leaves()])


def sections() -> dict[str, str]:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    parts = re.split(r"^#{2,3} (.+)$", text, flags=re.MULTILINE)
    return {name.strip(): body for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def named(text: str) -> set[str]:
    """Flags that a section explains: those in code, at its start or in a table."""
    return set(re.findall(r"`(--?[a-z][a-z-]*)[ `]", text))


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    assert set(sections()) == {*COMMANDS, *EVERYWHERE}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_flag_is_named_and_every_named_flag_exists(command: str) -> None:
    program = command.split()[0]
    told = named(sections()[command])
    assert COMMANDS[command] - told - EVERYWHERE[program] == set(), "not documented"
    assert told - COMMANDS[command] - EVERYWHERE[program] == set(), "documented, but not there"


@pytest.mark.parametrize("program", sorted(EVERYWHERE))
def test_what_is_everywhere_is_explained_once(program: str) -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    before = text[: text.index("\n## ")]
    told = named(sections()[program]) | named(before)
    assert EVERYWHERE[program] - told == set()

"""A join token does not stay on a command line, where every user of the machine could read it."""

import subprocess
import sys

import pytest

from gogrid.jointoken import LINK, PREFIX
from tray.hidden_token import STARTS, conceal

TOKEN = f"{PREFIX}abcdefgh0123456789"
_SHOW = """
import os, subprocess, sys
sys.path.insert(0, sys.argv.pop(1))
from tray.hidden_token import conceal
words = conceal(sys.argv[1:])
print(words)
print(open("/proc/self/cmdline").read().replace(chr(0), " ").replace(chr(10), " "))
print(subprocess.run([sys.executable, "-c", "print(input())"], capture_output=True, text=True).stdout)
"""

_ENTERED = """
import sys, types
sys.path.insert(0, sys.argv.pop(1))
large = sys.modules["tray.cli"] = types.ModuleType("tray.cli")
large.main = lambda: print(sys.argv[1:], open("/proc/self/cmdline").read().replace(chr(10), " "))
from tray.entry import main
main()
"""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="command lines are read from /proc")


@on_linux
@pytest.mark.parametrize("word", [TOKEN, LINK + TOKEN], ids=["token", "link"])
def test_the_token_of_a_link_is_hidden_and_handed_over_by_standard_input(word: str) -> None:
    command = [sys.executable, "-c", _SHOW, ".", "--data", "/d", "join", word, "--name", "n"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "['--data', '/d', 'join', '-', '--name', 'n']"
    assert TOKEN not in lines[1]
    assert lines[1].endswith(f" join {'x' * len(word)} --name n ")
    assert lines[2] == word  # also for a program that is started now


@on_linux
def test_it_is_hidden_also_where_there_is_no_standard_input() -> None:
    script = f'exec 0<&-; exec "{sys.executable}" -c "$0" . join "{TOKEN}"'
    done = subprocess.run(["/bin/sh", "-c", script, _SHOW], capture_output=True, text=True, check=True)
    assert TOKEN not in done.stdout.splitlines()[1]
    assert done.stdout.splitlines()[2] == TOKEN


@on_linux
def test_it_is_hidden_before_anything_large_is_loaded() -> None:
    command = [sys.executable, "-c", _ENTERED, ".", "join", TOKEN]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("['join', '-'] ")
    assert TOKEN not in said


@pytest.mark.parametrize(
    "words",
    [[], ["status"], ["join", "-"], ["join", "word"], [TOKEN], ["config", TOKEN], ["join", PREFIX + "a" * 100_000]],
    ids=["none", "status", "dash", "word", "no command", "another command", "too long"],
)
def test_other_words_stay_as_they_are(words: list[str]) -> None:
    assert conceal(words) == words


def test_it_knows_how_tokens_and_links_begin() -> None:
    assert PREFIX in STARTS
    assert LINK.startswith(STARTS)

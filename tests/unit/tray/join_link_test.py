"""A `gogrid://join/…` link on a web page must not lend this machine to a stranger by one click."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from gogrid.addresses import Address
from gogrid.jointoken import LINK, mint
from tray.commands.consent import is_yes, question

TOKEN = mint(b"\xab" * 32, (Address("grid.example", 8443), Address("10.0.0.7", 8443)), int(time.time()) + 3600)
WORDS = (sys.executable, "-m", "tray.cli")


def test_it_is_said_whose_coordinator_it_is_and_what_would_be_left() -> None:
    first, again = question(TOKEN, leaves=False), question(TOKEN, leaves=True)
    assert "grid.example:8443 or 10.0.0.7:8443 (pin abababab)" in first
    assert "would leave the coordinator that it works for now" in again
    assert "would leave" not in first
    assert first.endswith("Join? [y/N] ")


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "no\n", "yes please\n", "yy\n", "\x1b[A\n"])
def test_all_but_yes_is_no(answer: str) -> None:
    assert not is_yes(answer)


@pytest.mark.parametrize("answer", ["y\n", "Yes\n", " YES "])
def test_yes_is_yes(answer: str) -> None:
    assert is_yes(answer)


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are Unix's")
def test_without_a_terminal_nobody_joins(tmp_path: Path) -> None:
    command = [*WORDS, "--data", str(tmp_path), "join", "--ask", f"{LINK}{TOKEN.text()}"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, start_new_session=True
    )
    assert done.returncode == 1
    assert "no terminal to ask at" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("setsid") is None, reason="setsid gives a program a terminal of its own")
def test_a_no_at_the_terminal_changes_nothing(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = ["setsid", "--ctty", "--wait", *WORDS, "--data", str(tmp_path), "join", "--ask", f"{LINK}{TOKEN.text()}"]
    os.write(ours, b"n\n\n")
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # its other end is closed
            while piece := os.read(ours, 4096):
                shown += piece
    os.close(ours)
    assert process.returncode == 1
    assert b"Join? [y/N]" in shown
    assert b"Nothing has changed." in shown
    assert list(tmp_path.iterdir()) == []

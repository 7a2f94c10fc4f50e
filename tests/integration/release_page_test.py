"""`docs/updates.md`, "Publishing, step by step", followed to the letter in an empty folder."""

import itertools
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from coordinator.cli.main import main as coordinator
from updates.release_cli import main as release_main
from updates.release_cli import secret_keys
from updates.release_cli.main import main as release

PAGE = Path(__file__).parents[2] / "docs" / "updates.md"
WITH_A_SECRET_KEY = ("keygen", "keys sign", "sign", "timestamp")


def commands() -> Iterator[str]:
    section = PAGE.read_text(encoding="utf-8").partition("## Publishing, step by step")[2].partition("\n## ")[0]
    for block in re.findall(r"^```\n(.*?)^```", section, re.DOTALL | re.MULTILINE):
        yield from block.replace("\\\n", " ").splitlines()


def follow(line: str) -> int:
    program, *words = shlex.split(line, comments=True)
    if program == "gogrid-coordinator":
        return coordinator([*words, "--data", "state"])
    if program != "gogrid-release":
        return subprocess.run([program, *words], check=False).returncode
    if not " ".join(words).startswith(WITH_A_SECRET_KEY):
        return release(words)
    reading, writing = os.pipe()
    try:
        os.write(writing, b"four words not guessed")
        os.close(writing)
        return release([*words, "--passphrase-fd", str(reading)])
    finally:
        os.close(reading)


def test_a_publisher_who_follows_the_page_to_the_letter_is_never_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(secret_keys, "_OPERATIONS", 1 << 15)  # of a passphrase nobody guesses at here
    monkeypatch.setattr(secret_keys, "_MEMORY", 1 << 24)
    minutes = itertools.count(int(time.time()) - 3600, 60)  # between commands: timestamps are numbered by seconds
    monkeypatch.setattr(release_main, "time", SimpleNamespace(time=lambda: float(next(minutes))))
    for name in ("gogrid-linux.zip", "GoGrid.AppImage"):
        Path(name).write_bytes(b"packed")
    assert coordinator(["init", "--data", "state"]) == 0
    followed = list(commands())
    assert len(followed) > 15
    for line in followed:
        assert follow(line) == 0, f"{line}: {capsys.readouterr().err}"
    assert "release 2 (1.1.0) is offered to 100 %" in capsys.readouterr().out
    fewer = ("gogrid-release timestamp r2 --key timestamp.key --rollout 50",
             "gogrid-coordinator release publish r2 --rollout 50")  # fmt: skip
    for line in fewer:
        assert follow(line) == 0, line
    assert "is offered to 50 %" in capsys.readouterr().out

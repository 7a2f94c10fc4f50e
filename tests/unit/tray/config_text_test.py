"""What is written in the owner's own file reaches the terminal as text, never as orders to it."""

import json
import sys
from pathlib import Path

import pytest

from tray.cli import main

EVIL = "\x1b]0;gone\x07\x9b31m\u202e\nname = 1"


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    escaped = "".join(f"\\u{ord(character):04x}" for character in EVIL)
    (tmp_path / "config.toml").write_text(f'[worker]\ngpu = "{escaped}"\n')
    return ["--data", str(tmp_path), "config"]


def harmless(text: str) -> bool:
    return text.isprintable() or all(line.isprintable() for line in text.splitlines())


@pytest.mark.parametrize("verb", [["show"], ["show", "--origin"], ["get", "worker.gpu"]], ids=" ".join)
def test_a_control_character_in_a_setting_does_not_reach_the_terminal(
    words: list[str], verb: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *verb]) == 0
    out = capfd.readouterr().out
    assert harmless(out)
    assert r"\x1b]0;gone\x07\x9b31m\u202e\x0aname = 1" in out


def test_the_exact_value_is_there_for_programs(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "get", "worker.gpu", "--json"]) == 0
    assert EVIL in json.loads(capfd.readouterr().out)["value"]


def test_an_error_about_such_a_value_does_not_steer_the_terminal_either(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "set", f"no{EVIL}thing", " "]) == 2
    assert main([*words, "set", "max_vram", f"6{EVIL}"]) == 2
    err = capfd.readouterr().err
    assert harmless(err)
    assert err.count("\n") == 2


def test_a_word_that_is_too_long_to_be_read_is_cut(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*words[:2], "pause", "--for", "9" * 5000 + "h"]) == 2
    assert len(capfd.readouterr().err) < 600


@pytest.mark.skipif(sys.platform == "win32", reason="no such names on Windows")
def test_nor_does_the_name_of_a_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a\x1b[2Jb"
    folder.mkdir()
    (folder / "config.toml").write_text("[worker")
    assert main(["--data", str(folder), "config", "path"]) == 0
    assert main(["--data", str(folder), "config", "show"]) == 2
    said = capfd.readouterr()
    assert harmless(said.out)
    assert harmless(said.err)
    assert r"a\x1b[2Jb" in said.out
    assert r"a\x1b[2Jb" in said.err

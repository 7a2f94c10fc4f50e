"""What may lie in the place of `config.toml`, or be typed as a value: one clear line each."""

import os
import stat
import sys
from pathlib import Path

import pytest

from gogrid.config import LARGEST_FILE, resolve
from gogrid.errors import ConfigError
from runner.config import SETTINGS
from runner.settings_file import change_setting

DEEP = "[" * 20_000
unix_only = pytest.mark.skipif(sys.platform == "win32", reason="pipes and links of Unix")


def refused(path: Path) -> str:
    """By both that read it; what the reader says."""
    with pytest.raises(ConfigError) as change:
        change_setting(path, "name", "here")
    with pytest.raises(ConfigError) as read:
        resolve(SETTINGS, flags={}, environment={}, file=path)
    for said in (str(change.value), str(read.value)):
        assert said.startswith(str(path))
        assert len(said.splitlines()) == 1
        assert len(said) < 1000
    return str(read.value)


@pytest.mark.parametrize(
    "content",
    [
        f"x = {DEEP}",
        f"[worker]\nexclusive_apps = {DEEP}",
        DEEP,
        "[a" + ".a" * 20_000 + "]",
        "[worker]\nmax_ram = " + "9" * 5000,
        "x" * 3000 + " = 1",
        "[worker]\n" + "y" * 3000 + " = 1",
    ],
    ids=["deep value", "deep setting", "deep table", "deep name", "endless number", "endless table", "endless key"],
)
def test_no_content_of_the_settings_file_raises_anything_but_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(content)
    with pytest.raises(ConfigError) as read:
        resolve(SETTINGS, flags={}, environment={}, file=path)
    assert len(str(read.value)) < 1500
    with pytest.raises(ConfigError) as change:
        change_setting(path, "name", "here")
    assert len(str(change.value)) < 1500


@unix_only
def test_a_pipe_in_the_settings_place_hangs_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.toml")
    assert "no regular file" in refused(tmp_path / "config.toml")


def test_a_settings_file_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"#" * (LARGEST_FILE + 1))
    assert "longer than" in refused(tmp_path / "config.toml")


@unix_only
def test_a_link_to_itself_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "config.toml").symlink_to(tmp_path / "other.toml")
    (tmp_path / "other.toml").symlink_to(tmp_path / "config.toml")
    refused(tmp_path / "config.toml")


def test_a_value_that_lies_too_deep_in_itself_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"worker\.schedule = ") as caught:
        change_setting(tmp_path / "config.toml", "worker.schedule", DEEP)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("value", [DEEP, "x" * 1000, "[game"])
def test_a_program_that_no_system_names_so_is_refused_in_one_line(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="names of programs") as caught:
        change_setting(tmp_path / "config.toml", "worker.exclusive_apps", value)
    assert len(str(caught.value)) < 500


@unix_only
def test_settings_are_on_the_disk_before_they_stand_in_the_files_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, bool]] = []
    """Whether a folder was, and whether the settings stood in their place then."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_folder, (tmp_path / "config.toml").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    change_setting(tmp_path / "config.toml", "name", "here")
    assert synced == [(False, False), (True, True)]

"""Who installs from this folder does not walk through what a build left there."""

import tomllib
from pathlib import Path

import pytest
from setuptools import find_namespace_packages

ROOT = Path(__file__).parents[2]
FIND = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]


@pytest.mark.parametrize("made", ["build", "dist"])
def test_an_install_does_not_follow_wines_drives_through_the_whole_machine(tmp_path: Path, made: str) -> None:
    deep = tmp_path / made / "windows" / "dosdevices"
    deep.mkdir(parents=True)
    (deep / "z").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "gogrid").mkdir()
    found = find_namespace_packages(str(tmp_path), include=["*"], exclude=FIND["exclude"])
    assert [name for name in found if name.split(".")[0] != made] == ["gogrid"]
    assert not [name for name in found if name.startswith(f"{made}.")]

"""How the parts of the app start each other, from source and frozen."""

import sys
from pathlib import Path

import pytest

from tray.runner_command import runner_command, window_command


def test_from_source_they_are_modules_of_this_python() -> None:
    assert runner_command(["run"]) == (sys.executable, "-P", "-m", "runner", "run")
    assert window_command(["--page", "join"]) == (sys.executable, "-P", "-m", "tray.window", "--page", "join")


@pytest.mark.parametrize("suffix", ["", ".exe"])
def test_frozen_they_lie_beside_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suffix: str) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / f"gogrid-worker{suffix}"))
    assert runner_command(["run"]) == (str(tmp_path / f"gogrid-runner{suffix}"), "run")
    assert window_command([]) == (str(tmp_path / f"gogrid-window{suffix}"),)

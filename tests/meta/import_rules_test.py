"""The floors hold, and each rule would notice if it did not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gogrid", "coordinator", "runner", "tray", "updates", "sandbox_profiles")
BREAKS = {
    "gogrid knows no component": ("gogrid/sizes.py", "import coordinator"),
    "updates imports none of ours": ("updates/__init__.py", "import gogrid"),
    "sandbox_profiles imports none of ours": ("sandbox_profiles/linux.py", "import gogrid.errors"),
    "coordinator, runner and tray are mutually unaware": ("tray/supervision/restart.py", "import runner.session"),
    "torch and transformers live in the executor's engines": ("runner/serving/capacity.py", "import torch"),
    "the runner's process never loads an engine": ("runner/app.py", "from runner.executor.engines import base"),
    "the executor speaks through its pipes only": ("runner/executor/batches.py", "import socket"),
    "aioquic lives in the link modules": ("coordinator/tally.py", "import aioquic"),
    "litestar and uvicorn live in coordinator.http": ("coordinator/app.py", "import uvicorn"),
    "sqlalchemy and alembic live in coordinator.store": ("coordinator/records.py", "import sqlalchemy"),
    "pynvml is loaded in one place": ("runner/probes/base.py", "import pynvml"),
    "httpx lives where the coordinator is called": ("runner/app.py", "import httpx"),
    "coordinator.http uses the seams only": ("coordinator/http/errors.py", "import coordinator.dispatch.dispatcher"),
    "cores do no I/O and read no clock": ("gogrid/protocol/credit.py", "import time"),
    "pywebview lives in the window's shell": ("tray/window/bridge/calls.py", "import webview"),
    "pystray, Pillow and GTK live in the icon's process": ("tray/app/menu.py", "import PIL"),
    "the app imports neither its icon nor its window": ("tray/app/watch.py", "import tray.icon.surroundings"),
}
"""For each contract a line that breaks it."""


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports_command as c; c()"]
    arguments = ["--config", str(ROOT / ".importlinter"), "--no-cache"]
    return subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def verdicts(output: str) -> dict[str, str]:
    """KEPT or BROKEN by the contract's name."""
    found = {}
    for line in output.splitlines():
        for word in ("KEPT", "BROKEN"):
            name, mark, _ = line.partition(f" {word}")
            if mark:
                found[name.strip()] = word
    return found


def test_every_import_rule_is_kept() -> None:
    process = lint(ROOT)
    assert process.returncode == 0, process.stdout + process.stderr
    assert set(verdicts(process.stdout)) == set(BREAKS), "each contract needs a line in BREAKS"


@pytest.mark.filterwarnings("default")
def test_every_import_rule_notices_its_breach(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, line in BREAKS.values():
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    process = lint(tmp_path)
    assert process.returncode == 1
    assert verdicts(process.stdout) == dict.fromkeys(BREAKS, "BROKEN"), process.stdout + process.stderr

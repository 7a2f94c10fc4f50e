"""The folder in which an owner happens to start the worker is no place to take code from."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

WORKER = str(Path(sysconfig.get_path("scripts")) / "gogrid-worker")


@pytest.mark.parametrize("command", [("doctor",), ("--headless", "--max-vram", "nonsense")])
def test_modules_in_the_working_folder_are_never_imported(tmp_path: Path, command: tuple[str, ...]) -> None:
    for name in ("msgspec", "runner", "gogrid", "logging"):
        (tmp_path / f"{name}.py").write_text("print('EVIL'); raise SystemExit(3)\n")
    environment = {**os.environ, "GOGRID_WORKER_DATA": str(tmp_path / "data")}
    done = subprocess.run(
        [WORKER, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "EVIL" not in done.stdout + done.stderr
    assert done.returncode in (1, 2)

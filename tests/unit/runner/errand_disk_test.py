"""An errand on a disk that takes nothing says so in one line."""

from pathlib import Path

import pytest

from gogrid.worker_exit import WorkerExit
from runner.__main__ import main


def test_a_measurement_whose_folder_cannot_be_made_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    nowhere = tmp_path / "file" / "data"
    assert main(["bench", "--config", str(tmp_path / "config.toml"), "--data", str(nowhere)]) == WorkerExit.CANNOT_RUN
    said = capsys.readouterr().err
    assert said.startswith(f"gogrid-worker: {tmp_path / 'file'}")
    assert said.endswith(": Not a directory\n")
    assert said.count("\n") == 1

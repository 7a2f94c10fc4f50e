"""Commands that the coordinator's programs print to be copied: one word for each folder, and no worker's own words."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from coordinator.cli.main import main
from coordinator.http.native_schema import worker_shape
from coordinator.records import WorkerRecord, WorkerStatus
from coordinator.views import WorkerView
from gogrid.ids import WorkerId


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell's words")
def test_a_state_folder_with_a_space_is_one_word_of_each_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(tmp_path / "my grid")
    assert main(["--data", data, "init", "--json"]) == 0
    steps = [shlex.split(step) for step in json.loads(capsys.readouterr().out)["next"]]
    named = ["--data", data]
    assert steps[:3] == [
        ["gogrid-coordinator", "serve", *named],
        ["gogrid-coordinator", "model", "add", *named, "FOLDER"],
        ["gogrid-coordinator", "token", "create", *named],
    ]


def test_the_way_out_of_quarantine_is_no_command_that_a_worker_wrote_with_its_name() -> None:
    record = WorkerRecord(
        WorkerId("wk_1"), "x;curl${IFS}evil", b"k" * 32, WorkerStatus.APPROVED, False, 0, 1.0, "t", "crashes"
    )
    view = WorkerView(record, True, False, "", None, None, (), ())
    said = worker_shape(view, for_admin=True).reason
    assert said == "crashes; an admin lets it out: gogrid-coordinator worker release wk_1"

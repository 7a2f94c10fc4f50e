"""The owner's pause, the gates and the admin's drain: each on its own, all told; a pause survives the process."""

import os
from datetime import datetime
from pathlib import Path

import pytest

from gogrid.protocol.worker_report import Readiness
from runner.errors import RunnerError
from runner.holds import Holds, OwnerPause
from runner.pause_file import PauseFile

READY = (Readiness.READY, "ready")
NOW = 1_800_000_000.0


def test_nothing_holds_a_worker_that_nobody_holds() -> None:
    holds = Holds()
    assert (holds.readiness(READY), holds.reasons, holds.yielding) == (READY, (), False)


def test_all_reasons_are_told_the_owners_word_first() -> None:
    holds = Holds()
    holds.drained = "drained by the coordinator's admin"
    assert holds.readiness(READY) == (Readiness.DRAINING, "drained by the coordinator's admin")
    holds.gates = ("on battery", "a full-screen program is running")
    assert holds.readiness(READY) == (Readiness.PAUSED, "on battery")
    holds.pause = OwnerPause("paused by its owner")
    assert holds.readiness(READY) == (Readiness.PAUSED, "paused by its owner")
    assert holds.reasons == ("paused by its owner", *holds.gates, "drained by the coordinator's admin")


def test_a_drain_and_a_pause_end_apart() -> None:
    holds = Holds()
    holds.pause, holds.drained = OwnerPause("paused by its owner"), "drained: new cables"
    holds.drained = ""
    assert holds.readiness(READY) == (Readiness.PAUSED, "paused by its owner")
    holds.pause, holds.drained = None, "drained: new cables"
    assert holds.readiness(READY) == (Readiness.DRAINING, "drained: new cables")


def test_a_worker_that_cannot_work_says_that_first() -> None:
    holds = Holds()
    holds.gates = ("on battery",)
    unable = (Readiness.UNABLE, "no sandbox works")
    assert holds.readiness(unable) == unable


def test_finishing_gives_nothing_back_until_a_gate_closes() -> None:
    holds = Holds()
    holds.pause = OwnerPause("taking nothing new", finish=True)
    assert not holds.yielding
    holds.gates = ("the computer is in use",)
    assert holds.yielding
    assert holds.why == "The worker has given its machine back: the computer is in use."
    holds.pause, holds.gates = OwnerPause("paused by its owner"), ()
    assert (holds.yielding, holds.why) == (True, "The worker is paused by its owner.")


def test_others_are_told_when_a_pause_ends() -> None:
    holds = Holds()
    end = datetime(2026, 11, 24, 8, 0).timestamp()
    holds.pause = OwnerPause("paused by its owner", until=end)
    assert holds.told("paused by its owner") == "paused by its owner until Tue 08:00"
    assert holds.told("on battery") == "on battery"
    assert holds.paused_until == end


def test_a_pause_survives_the_process_and_ends_when_it_said(tmp_path: Path) -> None:
    file = PauseFile(tmp_path / "state")
    assert file.load(NOW) is None
    pause = OwnerPause("paused by its owner", finish=True, until=NOW + 3600)
    file.save(pause)
    assert PauseFile(tmp_path / "state").load(NOW) == pause
    assert file.load(NOW + 3599) == pause
    assert file.load(NOW + 3600) is None
    file.save(OwnerPause("paused by its owner"))
    assert file.load(NOW + 1e9) == OwnerPause("paused by its owner")
    file.save(None)
    file.save(None)
    assert (file.load(NOW), os.listdir(tmp_path / "state")) == (None, [])


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"reason": 3}', b"[]"])
def test_a_damaged_file_keeps_the_worker_paused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pause.json").write_bytes(content)
    assert PauseFile(tmp_path).load(NOW) == OwnerPause("paused by its owner")


def test_a_pause_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(RunnerError, match=r"pause\.json"):
        PauseFile(tmp_path / "state").save(OwnerPause("paused by its owner"))

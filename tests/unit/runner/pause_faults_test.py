"""A pause that is odd, that cannot be kept or cannot be told: the machine is its owner's all the same."""

import logging
import math
import os
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from gogrid.errors import ProtocolError
from gogrid.moments import shown_moment
from gogrid.protocol.worker_report import Readiness, WorkerReport
from gogrid.protocol.worker_session import framed_fitting
from runner.control_messages import Done, Refused
from runner.gates.settings import GateSettings
from runner.holds import LONGEST_REASON, OwnerPause
from runner.link.coordinator_link import CoordinatorLink, Credentials
from runner.owner import Owner
from runner.pause_file import PauseFile
from runner.reporter import Reporter
from tests.fakes.eyes import SeeingEyes
from tests.fakes.no_room import no_room
from tests.fakes.worker_bench import FACTS, Bench, begun, bench, until

PAUSED = "paused by its owner"
LONG = "#echo chunks=2000 delay_ms=20\none two three"
NOW = 1_800_000_000.0
unix_only = pytest.mark.skipif(sys.platform == "win32", reason="pipes and limits of Unix")


def owner_of(b: Bench, folder: Path) -> Owner:
    return Owner(b.work, PauseFile(folder), SeeingEyes(), GateSettings, lambda: False)


@pytest.mark.parametrize("moment", [1e18, -1e18, math.inf, -math.inf, math.nan, 1e300])
def test_a_moment_that_no_calendar_holds_is_told_without_raising(moment: float) -> None:
    assert shown_moment(moment, "%a %H:%M") == "a day that no calendar here has"
    assert shown_moment(datetime(2026, 11, 24, 8, 0).timestamp(), "%a %H:%M") == "Tue 08:00"


@pytest.mark.parametrize("until_s", [1e18, math.inf, math.nan, -math.inf, NOW + 400 * 86_400])
def test_a_pause_until_no_day_that_comes_is_refused(until_s: float) -> None:
    assert OwnerPause(PAUSED, until=until_s).why_not(NOW) != ""
    assert OwnerPause(PAUSED, until=NOW + 365 * 86_400).why_not(NOW) == ""


async def test_a_pause_with_an_absurd_end_or_reason_is_refused_and_nothing_is_paused(tmp_path: Path) -> None:
    async with bench(tmp_path / "models") as b:
        owner = owner_of(b, tmp_path)
        for answer in (
            owner.pause(PAUSED, finish=False, until=1e18),
            owner.pause("x" * 100_000, finish=False, until=0.0),
        ):
            assert isinstance(answer, Refused)
            assert "give " in answer.reason
        assert (b.work.readiness[0], (tmp_path / "pause.json").exists()) == (Readiness.READY, False)


async def test_whoever_is_told_of_a_pause_and_fails_does_not_keep_the_memory_from_its_owner(tmp_path: Path) -> None:
    async with bench(tmp_path / "models") as b:
        stream = b.chat(b.blobs.echo_model(100), LONG)
        await until(lambda: begun(stream))

        def fails() -> None:
            raise OSError("no day at all")

        b.work.changed = fails
        with pytest.raises(OSError, match="no day"):
            b.pause(PAUSED)
        assert stream.ended.is_set()
        await until(lambda: b.launcher.alive == 0)
        b.work.changed = lambda: None


@pytest.mark.parametrize("end", ["1e18", "-5", "1e308"])
def test_an_absurd_end_in_the_file_is_a_pause_without_an_end(tmp_path: Path, end: str) -> None:
    (tmp_path / "pause.json").write_text(f'{{"reason": "{"y" * 5000}", "until": {end}}}')
    assert PauseFile(tmp_path).load(NOW) == OwnerPause("y" * LONGEST_REASON)


@unix_only
async def test_a_pause_on_a_full_disk_holds_now_and_says_that_it_is_not_kept(tmp_path: Path) -> None:
    async with bench(tmp_path / "models") as b:
        owner = owner_of(b, tmp_path / "state")
        (tmp_path / "state").mkdir()
        with no_room():
            answer = owner.pause(PAUSED, finish=False, until=0.0)
        assert isinstance(answer, Done)
        assert answer.note.endswith("It holds now, but only until this worker ends.")
        assert b.work.readiness == (Readiness.PAUSED, PAUSED)
        assert os.listdir(tmp_path / "state") == []


@unix_only
def test_a_pipe_in_the_pause_files_place_hangs_nobody_and_counts_as_a_pause(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pause.json")
    assert PauseFile(tmp_path).load(NOW) == OwnerPause(PAUSED)
    PauseFile(tmp_path).save(None)
    assert PauseFile(tmp_path).load(NOW) is None


@pytest.mark.parametrize("pause", [None, OwnerPause("lunch")])
def test_a_folder_in_the_pause_files_place_is_put_aside(tmp_path: Path, pause: OwnerPause | None) -> None:
    (tmp_path / "pause.json").mkdir()
    (tmp_path / "pause.json" / "mine").write_text("kept")
    assert PauseFile(tmp_path).load(NOW) == OwnerPause(PAUSED)
    PauseFile(tmp_path).save(pause)
    assert PauseFile(tmp_path).load(NOW) == pause
    assert [path.read_text() for path in tmp_path.glob("pause.json.aside-*/mine")] == ["kept"]


def test_a_pause_file_without_end_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "pause.json").write_bytes(b'{"reason": "' + b"x" * (1 << 20) + b'"}')
    assert PauseFile(tmp_path).load(NOW) == OwnerPause(PAUSED)


async def test_a_reason_of_any_length_is_cut_to_what_a_report_may_hold(tmp_path: Path) -> None:
    async with bench(tmp_path / "models", facts=replace(FACTS, engine_note="e" * 100_000)) as b:
        b.pause("x" * 100_000)
        assert len(framed_fitting(b.work.report())) < 4096


async def test_a_report_that_fits_into_no_message_is_told_bare_and_the_next_is_told_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    async with bench(tmp_path / "models") as b:
        told: list[WorkerReport] = []
        whole = b.work.report()
        reports = [too_long(whole), whole]

        def tell(report: WorkerReport) -> None:
            framed_fitting(report)
            told.append(report)

        reporter = Reporter(tell, lambda: reports[0])
        reporter.changed()
        await until(lambda: len(told) == 1)
        assert (told[0].readiness, told[0].packages) == (Readiness.UNABLE, ())
        reports.pop(0)
        reporter.changed()
        await until(lambda: len(told) == 2)
        assert told[1] == whole
        assert "cannot be told everything" in caplog.text


async def test_a_link_keeps_no_report_that_it_could_never_send(tmp_path: Path) -> None:
    async with bench(tmp_path / "models") as b:
        link = CoordinatorLink((), Credentials(None, None, b""), b.work)  # type: ignore[arg-type]  # it never dials
        link.report(b.work.report())
        with pytest.raises(ProtocolError):
            link.report(too_long(b.work.report()))
        assert link._report == b.work.report()


def too_long(report: WorkerReport) -> WorkerReport:
    return msgspec.structs.replace(report, packages=("p" * 100_000,))

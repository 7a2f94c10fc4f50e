"""`gogrid run` tells what happens to a job that waits, and to one that begins again, as the coordinator knows it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.records import Attempt, JobState, LeaseEnd, LogLine
from coordinator.tickets import Waiting
from gogrid.client import waiting
from gogrid.client.cli import main
from gogrid.ids import JobId
from gogrid.protocol.job_messages import LINES_PER_LEASE, PythonDone
from gogrid.protocol.tasks import PythonTask
from tests.fakes.backend import WORKER
from tests.fakes.https_grid import HttpsGrid, ScriptedJobs, at_work, ends, https_grid


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsGrid]:
    with https_grid(tmp_path_factory.mktemp("grid")) as grid:
        yield grid


@pytest.fixture
def environment(tmp_path: Path, grid: HttpsGrid, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    return at_work(grid, tmp_path, monkeypatch)


def test_what_a_job_waits_for_is_said_anew_when_it_changes(
    grid: HttpsGrid,
    environment: dict[str, str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "_PATIENCE_S", 0.01)
    monkeypatch.setattr(waiting, "_LOOK_S", 0.01)
    why = ["vm: paused by its owner"] * 3 + ["no worker is connected"] * 3
    looks: list[JobId] = []

    def reasons(job_id: JobId) -> Waiting:
        looks.append(job_id)
        if len(looks) == len(why):
            grid.loop.create_task(grid.jobs.end(job_id, ends()))
        return Waiting(0, (why[min(len(looks), len(why)) - 1],))

    async def act(jobs: ScriptedJobs, job_id: JobId, task: PythonTask) -> None:
        monkeypatch.setattr(grid.jobs, "waiting", reasons)

    monkeypatch.setattr(grid.jobs, "act", act)
    assert main(["run", "-c", "1"], environment) == 0
    job_id = looks[0]
    assert capfd.readouterr().err.splitlines() == [
        f"gogrid: {job_id} waits ({reason}). Ctrl-C cancels it." for reason in dict.fromkeys(why)
    ]


ENDS = {
    LeaseEnd.OWNER_RETURNED: "its worker's owner took the machine back (paused by its owner)",
    LeaseEnd.YIELDED: "its worker gave it back (paused by its owner)",
    LeaseEnd.VANISHED: "its worker was lost (paused by its owner)",
    LeaseEnd.FENCED: "its worker could not reach the coordinator (paused by its owner)",
    LeaseEnd.CRASHED: "what ran it died (paused by its owner)",
    None: "its try came to nothing",
}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.value if end else "unknown")
def test_why_a_job_begins_again_is_what_its_history_says(
    grid: HttpsGrid,
    environment: dict[str, str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    end: LeaseEnd | None,
) -> None:
    async def act(jobs: ScriptedJobs, job_id: JobId, task: PythonTask) -> PythonDone:
        jobs.records[job_id] = replace(jobs.records[job_id], state=JobState.RUNNING, worker=WORKER, epoch=2)
        if end is not None:
            jobs.ended_attempts[job_id] = [Attempt(job_id, 1, WORKER, 5.0, 7.0, end, "paused by its owner.")]
        for epoch in (1, 2):
            jobs.lines[job_id].append(LogLine(epoch * LINES_PER_LEASE + 1, "stdout", b"begun\n"))
        return ends()

    monkeypatch.setattr(grid.jobs, "act", act)
    assert main(["run", "-c", "1"], environment) == 0
    shown = capfd.readouterr()
    assert shown.out == "begun\nbegun\n"
    assert shown.err == f"gogrid: {ENDS[end]}; it starts again on one, and so does its output.\n"

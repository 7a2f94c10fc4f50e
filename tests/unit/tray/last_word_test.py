"""A worker that its coordinator turned away is not only said to be absent."""

import os
from pathlib import Path

import pytest

from gogrid.places import WorkerPlaces, worker_places
from runner.control_messages import AskStatus
from tray.commands.base import Context, running
from tray.commands.last_word import given_up
from tray.control_client import NotRunningError

WHY = "The coordinator's admin has revoked this worker; join again with a new token."
LOG = f"""\
2026-11-22 16:00:00 INFO connected to grid:8443 as den-pc
gogrid-worker: {WHY}
2026-11-22 16:01:00 supervisor: {WHY}
"""


def turned_away(folder: Path) -> WorkerPlaces:
    places = worker_places(config=None, data=folder, environment={}, platform="linux", home=folder, user=1)
    places.logs.mkdir()
    (places.logs / "worker.log").write_text(LOG)
    return places


def test_status_says_why_the_coordinator_turned_it_away(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError) as told:
        running(Context(turned_away(tmp_path), ()), AskStatus())
    assert str(told.value) == f"No worker is running here; the last one was given up: {WHY}"


def test_who_has_joined_anew_since_hears_only_that_none_runs(tmp_path: Path) -> None:
    places = turned_away(tmp_path)
    places.state.mkdir()
    places.membership.write_text("{}")
    os.utime(places.logs / "worker.log", (0, 0))
    with pytest.raises(NotRunningError, match="start it with the same options"):
        running(Context(places, ()), AskStatus())


def test_a_worker_that_was_stopped_or_crashed_has_no_last_word() -> None:
    assert given_up("") == ""
    assert given_up(LOG + "2026-11-22 16:02:00 INFO connected to grid:8443 as den-pc\n") == ""
    assert (
        given_up("Killed\n2026-11-22 16:01:00 supervisor: the worker was killed by signal 9; starting it again\n") == ""
    )

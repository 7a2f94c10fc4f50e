"""Two programs on one installation: what is remembered is never half of each, and the second that fetches says so."""

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from tests.fakes import little_app
from tests.fakes.update_grid import NEW, OLD, Grid, small_grid
from tray.updating.settings import UpdateSettings
from tray.updating.work import UpdateWork
from updates.client import layout
from updates.client.boot import Here
from updates.client.disk import only_one
from updates.client.endpoints import DEFAULT_PATH
from updates.client.errors import BusyError, StageError, StoppedError
from updates.client.layout import Installation
from updates.client.stage import stage
from updates.client.switch import collect, prove, switch
from updates.trust.trusted_state import TrustedState


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    with small_grid(tmp_path) as made:
        yield made


def another(grid: Grid) -> Installation:
    """As a second program sees it."""
    return little_app.installation(grid.installation.place, grid.installation.folder.root)


def work(grid: Grid) -> UpdateWork:
    grid.served.publisher.at = time.time() - 60
    here = Here(grid.installation.place / little_app.PROGRAM, OLD)
    return UpdateWork(another(grid), here, little_app.PROGRAM, grid.installation.place / "none.pem")


def settings(grid: Grid) -> UpdateSettings:
    return UpdateSettings(endpoints=(grid.served.url + DEFAULT_PATH,))


def test_what_several_programs_learn_at_once_is_all_remembered(grid: Grid):
    def learn(state: TrustedState) -> TrustedState:
        return msgspec.structs.replace(state, ts_seq=state.ts_seq + 1)

    def program() -> None:
        installation = another(grid)
        for _ in range(8):
            installation.change(learn)

    programs = [threading.Thread(target=program) for _ in range(4)]
    for each in programs:
        each.start()
    for each in programs:
        each.join()
    assert grid.installation.load().ts_seq == 32


def test_a_program_that_hangs_over_what_is_remembered_is_told_of(grid: Grid, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layout, "_CHANGED_WITHIN_S", 0.05)
    switch(grid.installation, OLD)
    before = grid.installation.load()
    with only_one(grid.installation.folder.root / "state.lock"), pytest.raises(BusyError, match=r"state\.lock"):
        switch(another(grid), NEW)
    assert grid.installation.load() == before


def test_two_updaters_at_once_the_second_says_so_and_spoils_nothing(grid: Grid):
    mine = work(grid)
    found = mine.check(settings(grid))
    with grid.installation.folder.fetching():
        fresh = grid.installation.folder.versions / f".{NEW}.new"
        fresh.mkdir(parents=True)
        with pytest.raises(BusyError, match="Another GoGrid"):
            mine.fetch(found, threading.Event())
        prove(another(grid))  # takes away what nobody needs, but not this
        assert fresh.is_dir()
    mine.fetch(found, threading.Event())
    assert grid.installation.folder.present() == {NEW}
    assert not fresh.exists()


def test_what_another_program_has_fetched_meanwhile_is_not_fetched_again(grid: Grid):
    slower, quicker = work(grid), work(grid)
    found = slower.check(settings(grid))
    quicker.fetch(quicker.check(settings(grid)), threading.Event())
    mark = grid.installation.folder.version(NEW) / "runs"
    mark.touch()
    asked = len(grid.served.asked)
    slower.fetch(found, threading.Event())
    assert mark.exists()  # it may run already
    assert len(grid.served.asked) == asked


def test_a_signed_archive_that_is_none_is_fetched_once(grid: Grid):
    grid.served.publisher.file = b"no zip" * 100
    mine = work(grid)
    with pytest.raises(StageError, match="cannot be used"):
        mine.fetch(mine.check(settings(grid)), threading.Event())
    again = mine.check(settings(grid))
    assert again.install is None
    assert "cannot be used" in again.warning
    assert len([path for path in grid.served.asked if path.startswith("/files/")]) == 1


def test_wherever_staging_is_stopped_no_version_is_there_and_the_archive_is_kept(grid: Grid):
    offer, archive, stops = grid.offer(), grid.fetch(), 0
    while True:
        stop = partial(next, iter([False] * stops), True)
        try:
            stage(archive, offer, grid.installation, little_app.PROGRAM, stop=stop)
            break
        except StoppedError:
            stops += 1
            assert grid.installation.folder.present() == frozenset()
            assert list(grid.installation.folder.versions.iterdir()) == []
            assert archive.exists()
    assert stops > 3
    assert grid.installation.folder.present() == {NEW}


def test_what_is_being_unpacked_is_no_rest(grid: Grid):
    versions = grid.installation.folder.versions
    (versions / ".9.new").mkdir(parents=True)
    with grid.installation.folder.fetching():
        collect(grid.installation.folder, grid.installation.load(), OLD)
        assert (versions / ".9.new").is_dir()
    collect(grid.installation.folder, grid.installation.load(), OLD)
    assert not (versions / ".9.new").exists()

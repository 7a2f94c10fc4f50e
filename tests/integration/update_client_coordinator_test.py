"""A machine and a real coordinator over TLS: what it publishes is what the machine runs; nobody else is believed."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from coordinator.releases.shelf import Shelf
from coordinator.releases.store import ReleaseStore
from coordinator.state.folder import StateFolder
from tests.fakes import little_app
from tests.fakes.https_grid import HttpsGrid, https_grid
from tests.fakes.release_folders import release_folder, root_keys
from tests.fakes.update_publisher import Publisher
from tests.fakes.update_server import serving
from tray.updating.settings import UpdateSettings
from tray.updating.work import UpdateWork
from updates.client.boot import Here
from updates.client.endpoints import DEFAULT_PATH
from updates.client.errors import AskError
from updates.client.layout import Installation
from updates.errors import TrustError

OLD, NEW = 5, 7
AT = time.time() - 60
ANY = UpdateSettings()


@dataclass
class Site:
    grid: HttpsGrid
    store: ReleaseStore
    installation: Installation
    folder: Path

    def work(self) -> UpdateWork:
        identity = self.folder / "coordinator.pem"
        identity.write_bytes(self.grid.identity.pem)
        here = Here(self.installation.place / little_app.PROGRAM, OLD)
        work = UpdateWork(self.installation, here, little_app.PROGRAM, identity)
        work.coordinator_is(self.grid.url)
        return work

    def publish(self, publisher: Publisher) -> None:
        folder = release_folder(self.folder / f"release-{publisher.ts_seq}", publisher)
        self.store.publish(folder, None, time.time())


def release(**fields: object) -> Publisher:
    made = {"seq": NEW, "file": little_app.archive(NEW, "2.0.0", "good"), "at": AT}
    return Publisher(**(made | fields))  # type: ignore[arg-type]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    store = ReleaseStore(StateFolder(tmp_path / "state"))
    store.trust(root_keys(tmp_path / "root-keys.json"))
    little_app.write(tmp_path / "installed", OLD, "1.0.0", "good")
    with https_grid(tmp_path / "grid", releases=Shelf(store)) as grid:
        yield Site(grid, store, little_app.installation(tmp_path / "installed", tmp_path / "app" / "app"), tmp_path)


def test_what_a_coordinator_publishes_becomes_the_version_that_is_ready(site: Site):
    work = site.work()
    assert work.check(ANY).install is None
    site.publish(release())
    found = work.check(ANY)
    assert found.version == "2.0.0"
    work.fetch(found, threading.Event())
    assert work.ready(None) == NEW
    assert work.check(ANY).install is None  # it lies ready


def test_a_machine_that_is_up_to_date_gets_fresh_timestamps_and_then_204(site: Site):
    site.publish(release(seq=OLD))
    work = site.work()
    work.check(ANY)
    assert site.installation.load().ts_seq == 10
    work.check(ANY)
    assert site.installation.load().ts_seq == 10
    site.publish(release(seq=OLD, ts_seq=11))
    work.check(ANY)
    assert site.installation.load().ts_seq == 11


def test_a_stranger_at_the_coordinators_address_is_not_asked(site: Site, tmp_path: Path):
    site.publish(release())
    work = site.work()
    with https_grid(tmp_path / "other") as other:
        (tmp_path / "coordinator.pem").write_bytes(other.identity.pem)
        with pytest.raises(AskError, match="cannot be asked"):
            work.check(ANY)


def test_a_damaged_identity_of_the_coordinator_keeps_nobody_from_the_other_endpoints(site: Site, tmp_path: Path):
    work = site.work()
    (tmp_path / "coordinator.pem").write_bytes(b"damaged")
    with pytest.raises(AskError, match="identity cannot be read"):
        work.check(ANY)
    with serving(release()) as other:
        both = UpdateSettings(endpoints=(site.grid.url + DEFAULT_PATH, other.url + DEFAULT_PATH))
        assert work.check(both).version == "2.0.0"


def test_a_coordinator_that_was_stolen_cannot_push_a_program(site: Site):
    site.publish(release())
    site.work().check(ANY)
    with serving(release(release_by="thief", timestamp_by="thief", ts_seq=99)) as thief:
        endpoint = UpdateSettings(endpoints=(thief.url + DEFAULT_PATH,))
        with pytest.raises(TrustError, match="not to be believed"):
            site.work().check(endpoint)
    assert site.installation.load().ts_seq == 10

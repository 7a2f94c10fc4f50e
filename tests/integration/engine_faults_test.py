"""An engine pack for a newer system than this one, an owner who comes back, a process that was cut or is second."""

import threading
from pathlib import Path

import pytest

from runner.engine_pack.shelf import EnginePackError, Shelf
from tests.fakes.engine_machine import AT, Machine, offer
from tests.fakes.engine_packs import pack, publisher
from tests.fakes.release_folders import root_keys
from tests.fakes.update_server import serving
from updates.client.errors import BusyError, NoRoomError, StoppedError
from updates.client.layout import AppFolder


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    root_keys(tmp_path / "root-keys.json")
    return Machine(tmp_path)


def test_a_pack_for_a_newer_system_is_not_fetched(machine: Machine) -> None:
    made = offer()
    made.artifact = {"os_min": "999.0"}
    with serving(made) as server:
        found = machine.source.check(server.url, None)
        assert found.offer is None
        assert "needs a system of 999.0 or later" in found.sentence
        assert not any("/files/" in asked for asked in server.asked)


def test_a_pack_that_says_only_inside_that_it_needs_a_newer_system_is_fetched_once_and_not_unpacked(
    machine: Machine,
) -> None:
    source = machine.source
    with serving(publisher(pack(os_min="999.0"), at=AT)) as server:
        with pytest.raises(EnginePackError, match=r"needs a system of 999\.0"):
            source.fetch(source.check(server.url, None), threading.Event(), lambda have: None)
        again = source.check(server.url, None)
        assert again.offer is None
        assert "999.0" in again.sentence
    assert Shelf(machine.places.engines).packs() == ((), ())


def test_the_owners_return_ends_the_unpacking_and_the_archive_serves_the_next_time(machine: Machine) -> None:
    made, stop = publisher(pack("big", padding=200_000), at=AT), threading.Event()
    with serving(made) as server:
        source = machine.source
        found = source.check(server.url, None)
        assert found.offer is not None
        size = found.offer.artifact.size
        with pytest.raises(StoppedError):
            source.fetch(found, stop, lambda have: stop.set() if have == size else None)
        assert Shelf(machine.places.engines).packs() == ((), ())
        assert not list(machine.places.engines.glob(".fresh*"))
        source.fetch(found, threading.Event(), lambda have: None)
        assert len([asked for asked in server.asked if "/files/" in asked]) == 1
    assert machine.used is not None


class Counted(threading.Event):
    """Is set the `at`th time that somebody asks."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.asked = at, 0

    def is_set(self) -> bool:
        self.asked += 1
        return self.asked >= self.at


def test_the_owners_return_ends_also_the_last_moment_of_the_unpacking(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    root_keys(tmp_path / "other/root-keys.json")
    whole, other = Counted(1 << 20), Machine(tmp_path / "other")
    with serving(offer()) as server:
        source = machine.source
        source.fetch(source.check(server.url, None), whole, lambda have: None)
        source = other.source
        with pytest.raises(StoppedError):
            source.fetch(source.check(server.url, None), Counted(whole.asked - 3), lambda have: None)
    assert machine.used is not None
    assert Shelf(other.places.engines).packs() == ((), ())
    assert not list(other.places.engines.glob(".fresh*"))


def test_half_a_pack_of_an_earlier_process_takes_no_room_from_the_next_one(machine: Machine) -> None:
    left = machine.places.engines / ".fresh-1"
    left.mkdir(parents=True)
    with serving(offer()) as server:
        source = machine.source
        found = source.check(server.url, None)
        machine.cap = 2000
        with pytest.raises(NoRoomError):
            source.fetch(found, threading.Event(), lambda have: None)
    assert not left.exists()


def test_two_processes_that_fetch_at_once_the_second_says_so(machine: Machine) -> None:
    with serving(offer()) as server:
        source = machine.source
        found = source.check(server.url, None)
        with AppFolder(machine.places.engines / "updates").fetching(), pytest.raises(BusyError, match="right now"):
            source.fetch(found, threading.Event(), lambda have: None)
        assert not any("/files/" in asked for asked in server.asked)

"""A worker without an engine and a coordinator over TLS: the pack comes, is believed or refused, and replaces the last.

The lying servers are real ones on loopback.
"""

import asyncio
import dataclasses
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coordinator.releases.shelf import Shelf as Offered
from coordinator.releases.store import ReleaseStore
from coordinator.state.folder import StateFolder
from gogrid.identity import client_context
from runner.config import DeviceChoice
from runner.engine_pack.around import Surroundings
from runner.engine_pack.by_hand import signed_release
from runner.engine_pack.errand import engine_errand
from runner.engine_pack.find import this_python
from runner.engine_pack.keeper import EngineKeeper, Waits
from runner.engine_pack.ledger import load_ledger
from runner.engine_pack.progress import EngineProgress, Stage
from runner.engine_pack.shelf import EnginePack, EnginePackError, Shelf
from runner.engine_pack.source import PackSource
from runner.models.blobs import Access
from tests.fakes.engine_machine import AT, Machine, offer
from tests.fakes.engine_packs import TARGET, pack, publisher
from tests.fakes.https_grid import HttpsGrid, https_grid
from tests.fakes.release_folders import release_folder, root_keys
from tests.fakes.update_publisher import Publisher, sign
from tests.fakes.update_server import serving
from updates.client.errors import NoRoomError, StoppedError
from updates.client.schedule import Rhythm
from updates.errors import Alarm, TrustError, UpdateError

SOON = Waits(rhythm=Rhythm(first_s=0.0, every_s=0.05), look=0.01, lacking=0.0, newer=0.0)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    root_keys(tmp_path / "root-keys.json")
    return Machine(tmp_path)


@dataclass
class Site:
    grid: HttpsGrid
    store: ReleaseStore
    folder: Path
    told: list[EngineProgress] = field(default_factory=list)
    hold: str = ""
    restarts: int = 0
    jobs: int = 0
    answered: bool = False

    def publish(self, made: Publisher) -> None:
        self.store.publish(release_folder(self.folder / f"release-{made.ts_seq}", made), None, time.time())

    def around(self) -> Surroundings:
        trust = client_context(self.grid.identity.pem)

        def restart() -> None:
            self.restarts += 1

        return Surroundings(
            hold=lambda: self.hold,
            coordinator=lambda: Access("127.0.0.1", self.grid.port, "", trust),
            jobs=lambda: self.jobs,
            answered=lambda: self.answered,
            tell=self.told.append,
            restart=restart,
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    store = ReleaseStore(StateFolder(tmp_path / "state"))
    store.trust(root_keys(tmp_path / "publishers-keys.json"))
    with https_grid(tmp_path / "grid", releases=Offered(store)) as grid:
        yield Site(grid, store, tmp_path)


async def until(keeper: EngineKeeper, true: Callable[[], bool]) -> None:
    task = asyncio.create_task(keeper.run())
    try:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.005)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_worker_without_an_engine_gets_it_and_then_a_newer_one(site: Site, machine: Machine) -> None:
    keeper = EngineKeeper(machine.source, None, site.around(), SOON)
    await until(keeper, lambda: bool(site.told) and site.told[-1].trouble)
    assert (
        site.told[-1].words
        == f"no engine: the coordinator offers no engine pack for {TARGET}; its admin can publish one"
    )
    assert site.told[-1].note == site.told[-1].words

    site.publish(offer("one", 7))
    await until(EngineKeeper(machine.source, None, site.around(), SOON), lambda: site.restarts == 1)
    first = machine.used
    assert first is not None
    assert (first.site / "torch/__init__.py").read_text() == "mark = 'one'\n"
    assert site.told[-1].stage is Stage.READY
    assert not list((machine.places.engines / "updates/downloads").iterdir())

    site.publish(offer("two", 8, ts_seq=20))
    site.told.clear()
    await until(EngineKeeper(machine.source, first, site.around(), SOON), lambda: site.restarts == 2)
    second = machine.used
    assert second is not None
    assert (second.site / "torch/__init__.py").read_text() == "mark = 'two'\n"
    assert not any(progress.lacking or progress.note for progress in site.told)
    assert first.folder.is_dir()  # until the new one has served

    site.answered = True
    keeper = EngineKeeper(machine.source, second, site.around(), SOON)
    await until(keeper, lambda: [one.seq for one in load_ledger(machine.places.engines).packs] == [8])
    assert machine.used == second
    assert not first.folder.exists()


async def test_nothing_is_asked_while_it_is_held_and_the_running_jobs_are_waited_for(
    site: Site, machine: Machine
) -> None:
    site.publish(offer())
    site.hold = "paused by its owner"
    keeper = EngineKeeper(machine.source, None, site.around(), dataclasses.replace(SOON, lacking=60.0))
    await until(keeper, lambda: bool(site.told))
    await asyncio.sleep(0.05)
    assert site.told[-1].words == "no engine yet: paused by its owner"
    assert not any("/updates/" in path for _, path, _ in site.grid.seen)
    site.hold, site.jobs = "", 1
    await until(keeper, lambda: site.told[-1].stage is Stage.READY)
    await asyncio.sleep(0.05)
    assert site.restarts == 0
    site.jobs = 0
    await until(keeper, lambda: site.restarts == 1)


async def test_a_pause_stops_a_download_which_then_goes_on_from_there(site: Site, machine: Machine) -> None:
    made = publisher(pack("big", padding=200_000), at=AT)
    with serving(made) as server:
        server.faults.cut_after, server.faults.cuts = 100_000, 1
        around = dataclasses.replace(site.around(), coordinator=lambda: _Plain(server.url))  # type: ignore[arg-type]
        keeper = EngineKeeper(machine.source, None, around, SOON)

        def halfway() -> bool:
            if any(progress.arrived >= 100_000 for progress in site.told):
                site.hold = "the computer is in use"
            return site.told[-1:] != [] and site.told[-1].stage is Stage.WAITING

        running = asyncio.create_task(keeper.run())
        async with asyncio.timeout(20):
            while not halfway():
                await asyncio.sleep(0.005)
        await asyncio.sleep(1.3)  # a download that nobody stopped goes on after a second
        assert not any("bytes=" in asked for asked in server.asked)
        words = [progress.words for progress in site.told]
        assert any(word.startswith("fetching its engine: 4") and word.endswith("of 201 kB") for word in words), words
        site.hold = ""
        await asyncio.wait_for(running, 20)
    assert site.restarts == 1
    assert any(asked.endswith("bytes=100000-") for asked in server.asked)
    assert machine.used is not None


@dataclass
class _Plain:
    base: str
    trust: None = None


async def test_a_pack_that_its_owner_installed_is_left_alone(site: Site, machine: Machine) -> None:
    site.publish(offer())
    (machine.folder / "own.zip").write_bytes(pack("own"))
    made = _install(machine, "own.zip", digest=True)
    keeper = asyncio.create_task(EngineKeeper(machine.source, made, site.around(), SOON).run())
    await asyncio.wait((keeper,), timeout=0.7)
    keeper.cancel()
    assert not any("/updates/" in path for _, path, _ in site.grid.seen)


def _install(machine: Machine, name: str, *, digest: bool) -> EnginePack:
    file = machine.folder / name
    words = [hashlib.sha256(file.read_bytes()).hexdigest()] if digest else []
    engine_errand(machine.places, DeviceChoice.CPU, ("install", str(file), *words), machine.folder)
    assert machine.used is not None
    return machine.used


# --- attacks ---


def test_a_pack_that_was_signed_for_another_target_is_refused(machine: Machine) -> None:
    with (
        serving(offer(signed_for="windows-x86_64-cpu")) as server,
        pytest.raises(TrustError, match="not to be believed"),
    ):
        machine.take(server)
    assert machine.used is None


@pytest.mark.parametrize("wrong", [{"target": "windows-x86_64-cuda"}, {"python": "cp39"}])
def test_a_pack_whose_inside_is_for_another_machine_is_not_unpacked(machine: Machine, wrong: dict[str, str]) -> None:
    with serving(publisher(pack(**wrong), at=AT)) as server, pytest.raises(EnginePackError, match="though it was"):
        machine.take(server)
    assert Shelf(machine.places.engines).packs() == ((), ())
    assert not list((machine.places.engines / "updates/downloads").iterdir())


async def test_the_owners_return_ends_the_daily_reading_of_the_engine(site: Site, machine: Machine) -> None:
    site.publish(offer())
    await until(EngineKeeper(machine.source, None, site.around(), SOON), lambda: site.restarts == 1)
    reading, ended = threading.Event(), threading.Event()

    class Slow(PackSource):
        def look_closely(self, pack: EnginePack, stop: threading.Event) -> None:
            reading.set()
            assert stop.wait(20)
            ended.set()
            raise StoppedError("stopped")

    source = Slow(machine.places.engines, machine.folder, TARGET, this_python(), lambda: machine.cap)
    keeper = EngineKeeper(source, machine.used, site.around(), SOON)

    def back() -> bool:
        site.hold = "the computer is in use" * reading.is_set()
        return ended.is_set()

    await until(keeper, back)


def test_an_older_pack_is_not_taken_also_when_there_is_none(machine: Machine) -> None:
    with serving(offer("new", 8, ts_seq=20)) as server:
        Shelf(machine.places.engines).remove(machine.take(server).sha256)
    with serving(offer("old", 7, ts_seq=10)) as server, pytest.raises(TrustError) as caught:
        machine.take(server)
    assert caught.value.alarm is Alarm.ROLLBACK
    with serving(offer("old", 7, ts_seq=30)) as server, pytest.raises(TrustError) as caught:
        machine.take(server)
    assert caught.value.alarm is Alarm.ROLLBACK


def test_a_pack_of_somebody_who_may_not_sign_is_refused(machine: Machine) -> None:
    with serving(offer(release_by="thief")) as server, pytest.raises(TrustError) as caught:
        machine.take(server)
    assert caught.value.alarm is Alarm.WRONG_KEY


def test_a_release_of_the_app_is_no_engine(machine: Machine) -> None:
    with serving(Publisher(file=pack(), at=AT)) as server, pytest.raises(TrustError) as caught:
        machine.take(server)
    assert caught.value.alarm is Alarm.WRONG_APP


def test_endless_data_ends_at_the_size_that_was_signed(machine: Machine) -> None:
    with serving(offer()) as server:
        server.faults.endless = True
        with pytest.raises(TrustError, match="thrown away"):
            machine.take(server)
    assert not list((machine.places.engines / "updates/downloads").iterdir())


def test_other_bytes_of_the_same_length_are_thrown_away(machine: Machine) -> None:
    made = offer()
    with serving(made) as server:
        server.faults.other_bytes = made.file[:-1] + b"x"
        with pytest.raises(TrustError):
            machine.take(server)
    assert not list((machine.places.engines / "updates/downloads").iterdir())
    assert machine.used is None


def test_a_pack_that_was_cut_after_it_was_installed_is_fetched_again(machine: Machine) -> None:
    with serving(offer()) as server:
        made = machine.take(server)
        (made.site / "torch/__init__.py").write_bytes(b"cut")
        assert machine.used is None
        assert machine.take(server) == made
    assert machine.used == made


async def test_a_byte_that_changed_after_the_installation_is_found_and_mended(site: Site, machine: Machine) -> None:
    site.publish(offer())
    await until(EngineKeeper(machine.source, None, site.around(), SOON), lambda: site.restarts == 1)
    made = machine.used
    assert made is not None
    good = (made.site / "torch/__init__.py").read_bytes()
    (made.site / "torch/__init__.py").write_bytes(b"M" + good[1:])
    keeper = EngineKeeper(machine.source, made, site.around(), SOON)
    await until(keeper, lambda: made.folder.is_dir() and (made.site / "torch/__init__.py").read_bytes() == good)


def test_a_pack_that_does_not_fit_the_owners_limit_or_the_disk_is_not_fetched(machine: Machine) -> None:
    machine.cap = 2000
    with serving(offer()) as server:
        with pytest.raises(NoRoomError, match=r"worker\.disk_cap allows"):
            machine.take(server)
        machine.cap = 100
        with pytest.raises(TrustError) as caught:
            machine.take(server)
        assert caught.value.alarm is Alarm.TOO_LARGE
        assert not any("/files/" in asked for asked in server.asked)


# --- by hand ---


def beside(machine: Machine, *, by: str = "release1", target: str = TARGET, data: bytes = b"", seq: int = 7) -> Path:
    """A pack with its signature, from a publisher whose keys a coordinator has shown before."""
    with serving(offer("earlier", 5, ts_seq=5)) as server:
        Shelf(machine.places.engines).remove(machine.take(server).sha256)
    file, made = machine.folder / "pack.zip", pack("hand")
    digest = hashlib.sha256(made).hexdigest()
    comment = f"gogrid1 seq={seq} version=2.13.7 target={target} sha256={digest} size={len(made)}"
    file.write_bytes(data or made)
    file.with_name("pack.zip.minisig").write_bytes(sign(made, by, comment))
    return file


def test_a_pack_brought_by_hand_is_believed_by_its_publishers_signature(machine: Machine) -> None:
    beside(machine)
    made = _install(machine, "pack.zip", digest=False)
    entry = load_ledger(machine.places.engines).of(made.sha256)
    assert entry is not None
    assert entry.seq == 7  # and is kept up to date from now on


@pytest.mark.parametrize(
    "lie", [{"by": "thief"}, {"target": "windows-x86_64-cpu"}, {"data": pack("other")}], ids=["key", "target", "bytes"]
)
def test_a_pack_with_another_signature_is_refused_also_with_its_digest(
    machine: Machine, lie: dict[str, object]
) -> None:
    beside(machine, **lie)  # type: ignore[arg-type]
    with pytest.raises(EnginePackError):
        _install(machine, "pack.zip", digest=True)
    assert machine.used is None


def test_a_withdrawn_pack_is_refused_by_hand_too(machine: Machine) -> None:
    made = offer("now", 9, ts_seq=30)
    bend = made.bend_release

    def withdrawn(document: dict[str, object]) -> None:
        bend(document)
        document["revoked"] = [7]

    made.bend_release = withdrawn
    file = beside(machine)
    with serving(made) as server:
        machine.source.check(server.url, None)
    with pytest.raises(EnginePackError, match="withdrawn"):
        signed_release(file, machine.places, machine.folder, time.time())


def test_a_pack_for_a_newer_system_is_refused_by_hand_too(machine: Machine) -> None:
    (machine.folder / "pack.zip").write_bytes(pack(os_min="999.0"))
    with pytest.raises(EnginePackError, match=r"needs a system of 999\.0"):
        _install(machine, "pack.zip", digest=True)
    assert Shelf(machine.places.engines).packs() == ((), ())


def test_without_signature_or_keys_the_digest_is_asked_for(machine: Machine) -> None:
    (machine.folder / "pack.zip").write_bytes(pack())
    with pytest.raises(EnginePackError, match="--digest HEX"):
        _install(machine, "pack.zip", digest=False)
    _install(machine, "pack.zip", digest=True)


def test_whom_nobody_answers_is_told_so(machine: Machine) -> None:
    with pytest.raises(UpdateError, match="cannot be asked"):
        machine.source.check("http://127.0.0.1:9", None)

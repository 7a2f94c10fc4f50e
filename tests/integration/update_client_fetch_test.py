"""Asking and downloading over real HTTP with real signatures: cut, endless, swapped, redirected, withdrawn."""

import os
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from tests.fakes import little_app
from tests.fakes.update_publisher import DAY, NOW, Publisher, anchors
from tests.fakes.update_server import Served, serving
from updates.client.ask import Outcome, Place, ask
from updates.client.disk import Step, unnoticed
from updates.client.download import Download, Patience
from updates.client.endpoints import DEFAULT_PATH, endpoint
from updates.client.errors import AskError, DownloadError, NoRoomError, StageError, StoppedError
from updates.client.layout import Installation
from updates.client.stage import stage
from updates.client.switch import switch
from updates.errors import Alarm, StateFileError, TrustError
from updates.trust.documents import WORKER_APP
from updates.trust.verdict import Current, Install, InstallFacts, Refuse, Wait

OLD, NEW = 5, 7
QUICK = Patience(waits_s=(0.0, 0.0), window_s=0.3, least=30_000)


@dataclass
class Grid:
    """A machine with version 5, and a server that offers version 7."""

    served: Served
    installation: Installation

    @property
    def place(self) -> Place:
        return Place(endpoint(self.served.url + DEFAULT_PATH, "linux-x86_64", "1.0.0"), None)

    @property
    def facts(self) -> InstallFacts:
        return InstallFacts(
            anchors=anchors(),
            app=WORKER_APP,
            channel="stable",
            target="linux-x86_64",
            version="1.0.0",
            seq=OLD,
            install_id=self.installation.folder.install_id(),
        )

    def ask(self, now: float = NOW) -> Outcome:
        return ask((self.place,), self.installation, self.facts, now)

    def offer(self) -> Install:
        verdict = self.ask().verdict
        assert isinstance(verdict, Install), verdict
        return verdict

    def download(self, stop: threading.Event | None = None, step: Step = unnoticed) -> Download:
        return Download(
            self.offer(),
            self.place,
            self.installation.folder.downloads,
            stop=stop or threading.Event(),
            patience=QUICK,
            step=step,
        )

    def fetch(self) -> Path:
        return self.download().run(self.installation.load)

    @property
    def downloads(self) -> list[str]:
        return sorted(path.suffix for path in self.installation.folder.downloads.glob("*"))


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    little_app.write(tmp_path / "installed", OLD, "1.0.0", "good")
    publisher = Publisher(seq=NEW, file=little_app.archive(NEW, "2.0.0", "good", ballast=os.urandom(300_000)))
    with serving(publisher) as served:
        yield Grid(served, little_app.installation(tmp_path / "installed", tmp_path / "app"))


# --- asking ----------------------------------------------------------------------------------------------------------


def test_nothing_newer_is_204(grid: Grid):
    grid.served.faults.status = 204
    assert grid.ask().verdict == Current()
    assert grid.served.asked == [f"/updates/linux-x86_64/1.0.0?seq={OLD}&ts=0"]


def test_after_weeks_of_204_somebody_is_told_that_it_is_frozen(grid: Grid):
    grid.offer()
    grid.served.faults.status = 204
    verdict = grid.ask(NOW + 30 * DAY).verdict
    assert isinstance(verdict, Wait)
    assert verdict.warn


def test_an_offer_is_remembered_before_anybody_acts_on_it(grid: Grid):
    offer = grid.offer()
    state = grid.installation.load()
    assert (offer.seq, state.release_seq, state.ts_seq, state.key_epoch) == (NEW, NEW, 10, 1)


def test_known_keys_are_not_asked_for_again(grid: Grid):
    grid.offer()
    grid.offer()
    assert [path for path in grid.served.asked if "keys" in path] == ["/updates/keys/1"]


def test_an_answer_that_is_refused_is_not_asked_for_elsewhere_but_a_silent_endpoint_is(grid: Grid):
    grid.served.publisher.release_by = "thief"
    silent = Place(endpoint("http://127.0.0.1:9" + DEFAULT_PATH, "linux-x86_64", "1.0.0"), None)
    with serving(Publisher()) as honest:
        other = replace(grid.place, endpoint=endpoint(honest.url + DEFAULT_PATH, "linux-x86_64", "1.0.0"))
        verdict = ask((silent, grid.place, other), grid.installation, grid.facts, NOW).verdict
    assert isinstance(verdict, Refuse)
    assert verdict.alarm is Alarm.WRONG_KEY
    assert honest.asked == []


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"status": 500}, "answers 500"),
        ({"redirect": "http://127.0.0.1:1/"}, "answers 302"),
        ({"answer": b"x" * (400 << 10)}, "more than"),
    ],
)
def test_other_answers_are_one_sentence(grid: Grid, fault: dict[str, object], text: str):
    for name, value in fault.items():
        setattr(grid.served.faults, name, value)
    with pytest.raises(AskError, match=text):
        grid.ask()


def test_an_answer_that_is_no_offer_is_refused(grid: Grid):
    grid.served.faults.answer = b'{"version": "9"}'
    verdict = grid.ask().verdict
    assert isinstance(verdict, Refuse)
    assert verdict.alarm is Alarm.MALFORMED


def test_an_older_release_is_refused_after_a_newer_one_was_seen(grid: Grid):
    grid.offer()
    grid.served.publisher.seq, grid.served.publisher.ts_seq = 6, 11
    verdict = grid.ask().verdict
    assert isinstance(verdict, Refuse)
    assert verdict.alarm is Alarm.ROLLBACK


class Dripping(socketserver.StreamRequestHandler):
    """One byte now and then, for ever; `begins` at once."""

    begins = b""

    def handle(self) -> None:
        with suppress(OSError):
            self.wfile.write(self.begins)
            while True:
                self.wfile.write(b"x")
                time.sleep(0.02)


@contextmanager
def dripping(begins: bytes) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("_", (Dripping,), {"begins": begins})) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\nx-", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_slow_retrieval_a_dripping_endpoint_is_given_up_and_the_next_one_asked(grid: Grid, begins: bytes):
    with dripping(begins) as url:
        slow = Place(endpoint(url + DEFAULT_PATH, "linux-x86_64", "1.0.0"), None)
        outcome = ask((slow, grid.place), grid.installation, grid.facts, NOW, answer_s=0.3)
    assert isinstance(outcome.verdict, Install)
    assert outcome.place == grid.place


@pytest.mark.timeout(20)
def test_slow_retrieval_of_many_keys_has_an_end(grid: Grid):
    grid.served.faults.slow_keys_s = 0.1
    grid.served.publisher.epoch = 200
    with pytest.raises(AskError, match="takes longer"):
        ask((grid.place,), grid.installation, grid.facts, NOW, answer_s=0.25)
    assert len(grid.served.asked) < 20


@pytest.mark.timeout(20)
def test_slow_retrieval_of_the_file_is_given_up(grid: Grid):
    download = grid.download()
    with dripping(f"HTTP/1.1 200 OK\r\ncontent-length: {download._size}\r\n\r\n".encode()) as url:
        download._place = Place(endpoint(url + DEFAULT_PATH, "linux-x86_64", "1.0.0"), None)
        with pytest.raises(DownloadError, match="too slow"):
            download.run(grid.installation.load)


@pytest.mark.timeout(20)
def test_slow_retrieval_in_a_thousand_little_transfers_is_given_up(grid: Grid):
    grid.served.faults.cut_after, grid.served.faults.cuts = 1, 1 << 20
    with pytest.raises(DownloadError, match="cannot be downloaded"):
        grid.fetch()
    assert len(grid.served.asked) < 10


# --- downloading -----------------------------------------------------------------------------------------------------


def test_a_verified_file_is_staged_as_a_version(grid: Grid):
    offer = grid.offer()
    place = stage(grid.fetch(), offer, grid.installation, little_app.PROGRAM)
    assert place == grid.installation.folder.version(NEW)
    assert os.access(place / little_app.PROGRAM, os.X_OK)
    assert grid.downloads == []


def test_a_cut_download_goes_on_where_it_stopped(grid: Grid):
    grid.served.faults.cut_after, grid.served.faults.cuts = 100_000, 2
    assert grid.fetch().read_bytes() == grid.served.publisher.file
    assert [path.split()[1:] for path in grid.served.asked if "/files/" in path] == [
        [],
        ["bytes=100000-"],
        ["bytes=200000-"],
    ]


def test_a_download_goes_on_after_this_program_was_started_anew(grid: Grid):
    grid.served.faults.cut_after, grid.served.faults.cuts = 50_000, 99
    stop, seen = threading.Event(), []
    download = grid.download(stop)
    download._moved = lambda have: (seen.append(have), stop.set() if have >= 120_000 else None)[0]
    with pytest.raises(StoppedError):
        download.run(grid.installation.load)
    grid.served.faults.cuts = 0
    assert grid.fetch().read_bytes() == grid.served.publisher.file
    assert grid.served.asked[-1].endswith(f"bytes={seen[-1]}-")


def test_a_server_without_ranges_is_read_from_the_start(grid: Grid):
    grid.served.faults.cut_after, grid.served.faults.no_ranges = 100_000, True
    assert grid.fetch().read_bytes() == grid.served.publisher.file


def test_another_part_than_was_asked_for_is_not_put_together(grid: Grid):
    grid.served.faults.cut_after, grid.served.faults.wrong_range = 100_000, True
    with pytest.raises(DownloadError, match="another part"):
        grid.fetch()


def test_endless_data_ends_at_the_first_byte_too_many(grid: Grid):
    grid.served.faults.endless = True
    with pytest.raises(TrustError) as refused:
        grid.fetch()
    assert refused.value.alarm is Alarm.MIXED
    assert grid.downloads == []


def test_a_file_with_another_hash_is_thrown_away(grid: Grid):
    grid.served.faults.other_bytes = bytes(len(grid.served.publisher.file))
    with pytest.raises(TrustError):
        grid.fetch()
    assert grid.downloads == []


def test_an_old_file_under_an_inflated_version_is_refused_before_it_is_downloaded(grid: Grid):
    old = Publisher(seq=6, version="1.5.0", file=grid.served.publisher.file).artifact_of()
    grid.served.publisher.artifact = {"signature": old["signature"]}
    verdict = grid.ask().verdict
    assert isinstance(verdict, Refuse)
    assert verdict.alarm is Alarm.MIXED
    assert not [path for path in grid.served.asked if "/files/" in path]


def test_a_release_that_is_withdrawn_during_the_download_is_not_taken(grid: Grid):
    download = grid.download()
    withdrawn = grid.installation.change(lambda state: msgspec.structs.replace(state, revoked=(NEW,)))
    with pytest.raises(TrustError, match="withdrawn"):
        download.run(lambda: withdrawn)
    assert grid.downloads == []


def test_a_redirect_of_the_file_is_not_followed(grid: Grid):
    download = grid.download()
    grid.served.faults.redirect = grid.served.url + "/elsewhere"
    with pytest.raises(DownloadError, match="302"):
        download.run(grid.installation.load)
    assert not [path for path in grid.served.asked if "elsewhere" in path]


def test_what_lies_there_from_another_release_is_taken_away(grid: Grid):
    grid.installation.folder.downloads.mkdir(parents=True)
    (grid.installation.folder.downloads / "aa.zip.unverified").write_bytes(b"old")
    assert grid.fetch().suffix == ".zip"
    assert grid.downloads == [".zip"]


def test_a_verified_file_that_was_changed_on_the_disk_is_not_believed_again(grid: Grid):
    archive = grid.fetch()
    archive.write_bytes(bytes(archive.stat().st_size))
    with pytest.raises(TrustError):
        grid.fetch()


def block(path: Path, kind: str) -> None:
    """Something that is not ours has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "folder":
        (path / "deep").mkdir(parents=True)
    elif kind == "file":
        path.write_bytes(b"x")
    else:
        path.symlink_to(path.parent / "nowhere")


_DEBRIS = [
    (name, kind)
    for name in ("downloads/sub", "downloads/READY", "downloads/READY.unverified", "versions/.7.new")
    for kind in ("folder", "file", "link")
    if kind != "file" or "READY" not in name  # such a file may be ours, and is judged by its signature
]


@pytest.mark.parametrize(("name", "kind"), _DEBRIS)
def test_debris_in_the_app_folder_does_not_block_updates(grid: Grid, name: str, kind: str):
    download = grid.download()
    block(grid.installation.folder.root / name.replace("READY", download.ready.name), kind)
    place = stage(download.run(grid.installation.load), grid.offer(), grid.installation, little_app.PROGRAM)
    assert grid.installation.folder.present() == {NEW}
    assert [path.name for path in place.parent.iterdir()] == [str(NEW)]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
@pytest.mark.parametrize("name", ["versions/7", "versions/.7.old"])
def test_debris_in_the_place_of_a_version_does_not_block_it(grid: Grid, name: str, kind: str):
    for each in {name, "versions/7"}:
        block(grid.installation.folder.root / each, kind)
    stage(grid.fetch(), grid.offer(), grid.installation, little_app.PROGRAM)
    assert grid.installation.folder.present() == {NEW}


@pytest.mark.parametrize("kind", ["file", "link"])
@pytest.mark.parametrize("name", ["downloads", "versions"])
def test_debris_in_the_place_of_a_folder_does_not_block_updates(grid: Grid, name: str, kind: str):
    block(grid.installation.folder.root / name, kind)
    stage(grid.fetch(), grid.offer(), grid.installation, little_app.PROGRAM)
    assert grid.installation.folder.present() == {NEW}


def test_what_a_link_in_the_app_folder_leads_to_is_left_alone(grid: Grid, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_bytes(b"dear")
    for name in ("downloads/sub", "versions/7"):
        path = grid.installation.folder.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(tmp_path / "mine")
    stage(grid.fetch(), grid.offer(), grid.installation, little_app.PROGRAM)
    assert (tmp_path / "mine" / "letter").read_bytes() == b"dear"


def test_only_a_folder_that_says_so_is_a_version(grid: Grid):
    versions = grid.installation.folder.versions
    for name in ("99", "9" * 250, "9" * 5000, "0", str(1 << 53), "12"):
        with suppress(OSError):  # a name that is too long for the disk
            block(versions / name, "file")
    (versions / "13").mkdir()
    little_app.write(versions / "14", 15, "3.0.0", "good")
    little_app.write(versions / ("9" * 200), 16, "3.0.0", "good")
    little_app.write(versions / "017", 17, "3.0.0", "good")
    little_app.write(versions / "18", 18, "3.0.0", "good")
    little_app.write(versions.parent / "elsewhere", 19, "3.0.0", "good")
    (versions / "19").symlink_to(versions.parent / "elsewhere")
    assert grid.installation.folder.present() == {18}


def test_what_could_not_be_read_again_is_never_remembered(grid: Grid):
    grid.offer()
    before = grid.installation.load()
    with pytest.raises(StateFileError, match="not kept"):
        switch(grid.installation, int("9" * 250))
    assert grid.installation.load() == before


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"", b"x" * 5000, b"machine-1"])
def test_a_damaged_install_id_is_made_anew(grid: Grid, damage: bytes):
    folder = grid.installation.folder
    first = folder.install_id()
    assert folder.install_id() == first
    (folder.root / "install-id").write_bytes(damage)
    fresh = folder.install_id()
    assert len(fresh) == 32
    assert folder.install_id() == fresh != first


# --- staging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        ({"seq": 8}, "says that it is"),
        ({"version": "9.9.9"}, "says that it is"),
        ({"target": "windows-x86_64"}, "says that it is"),
        ({"channel": "beta"}, "says that it is"),
    ],
)
def test_an_archive_that_is_another_release_than_it_was_signed_as_is_refused(
    grid: Grid, packed: dict[str, object], text: str
):
    grid.served.publisher.file = little_app.archive(**({"seq": NEW, "version": "2.0.0", "kind": "good"} | packed))
    offer = grid.offer()
    with pytest.raises(StageError, match=text):
        stage(grid.fetch(), offer, grid.installation, little_app.PROGRAM)
    assert list(grid.installation.folder.versions.iterdir()) == []


def test_a_version_is_there_only_when_it_is_whole_and_was_judged(grid: Grid):
    offer, archive, seen = grid.offer(), grid.fetch(), {}
    folder = grid.installation.folder
    stage(archive, offer, grid.installation, little_app.PROGRAM, lambda label: seen.update({label: folder.present()}))
    assert (seen["unpacked"], seen["judged"], seen["staged"]) == (frozenset(), frozenset(), frozenset({NEW}))


def test_an_archive_without_the_program_is_refused(grid: Grid):
    offer = grid.offer()
    with pytest.raises(StageError, match="no program other"):
        stage(grid.fetch(), offer, grid.installation, "other")
    assert list(grid.installation.folder.versions.iterdir()) == []


def test_what_is_no_archive_is_one_sentence(grid: Grid):
    grid.served.publisher.file = b"no zip" * 100
    offer = grid.offer()
    with pytest.raises(StageError, match="cannot be used"):
        stage(grid.fetch(), offer, grid.installation, little_app.PROGRAM)


# --- limits of the machine -------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """8 MB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root mounts a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_while_downloading_gives_everything_back(
    grid: Grid, small_disk: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("updates.client.download._MARGIN", -(64 << 20))  # so that the disk itself is what says no
    grid.served.publisher.file = os.urandom(12 << 20)
    tight = replace(grid, installation=little_app.installation(grid.installation.place, small_disk / "app"))
    before = tight.offer() and tight.installation.load()
    with pytest.raises(NoRoomError, match="disk is full"):
        tight.fetch()
    assert tight.downloads == []
    assert tight.installation.load() == before


def test_a_full_disk_while_unpacking_gives_everything_back(
    grid: Grid, small_disk: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("updates.client.download._MARGIN", 0)
    ballast = os.urandom(1 << 12) * 4096  # 16 MB that pack well
    grid.served.publisher.file = little_app.archive(NEW, "2.0.0", "good", ballast=ballast)
    tight = replace(grid, installation=little_app.installation(grid.installation.place, small_disk / "app"))
    offer = tight.offer()
    with pytest.raises(NoRoomError, match="disk is full"):
        stage(tight.fetch(), offer, tight.installation, little_app.PROGRAM)
    assert list(tight.installation.folder.versions.iterdir()) == []
    assert tight.downloads == []


def test_a_disk_that_is_nearly_full_is_left_alone(grid: Grid, small_disk: Path):
    tight = replace(grid, installation=little_app.installation(grid.installation.place, small_disk / "app"))
    with pytest.raises(NoRoomError, match="free some"):
        tight.fetch()
    assert not [path for path in grid.served.asked if "/files/" in path]


_LARGE = 200 << 20
_FETCH = """
import resource, sys, threading
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import msgspec
from updates.client.ask import Place
from updates.client.download import Download
from updates.client.endpoints import endpoint
from updates.client.layout import AppFolder
from updates.trust.documents import Release
from updates.trust.verdict import Install
release = msgspec.json.decode(Path(sys.argv[3]).read_bytes(), type=Release)
offer = Install(7, "linux-x86_64", release.platforms["linux-x86_64"], release, False)
folder, place = AppFolder(Path(sys.argv[2])), Place(endpoint(sys.argv[4], "t", "1"), None)
def used():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) << 10
import httpx
httpx.Client(trust_env=False).close()
before = used()
download = Download(offer, place, folder.downloads, stop=threading.Event())
path = download.run(lambda: folder.load("gogrid-worker", "stable"))
print(path.stat().st_size, used() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_200_mb_are_downloaded_and_checked_in_constant_memory(grid: Grid, tmp_path: Path):
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(_LARGE)  # a hole: no disk is filled
    grid.served.publisher.file = source.read_bytes()
    release = grid.served.publisher.release()
    (tmp_path / "release.json").write_bytes(release.data)
    grid.offer()
    grid.served.publisher.file, grid.served.file = b"", source
    root, app = str(Path(__file__).parents[2]), str(grid.installation.folder.root)
    arguments = [root, app, str(tmp_path / "release.json"), grid.served.url + DEFAULT_PATH]
    done = subprocess.run([sys.executable, "-c", _FETCH, *arguments], capture_output=True, text=True, check=True)
    size, grown = map(int, done.stdout.split())
    assert size == _LARGE
    assert grown < 16 << 20, f"{grown >> 20} MB for 200 MB"

"""Asking and downloading over real HTTP with real signatures: cut, endless, swapped, redirected, withdrawn."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.fakes import little_app
from tests.fakes.update_grid import NEW, OLD, Grid, small_grid
from tests.fakes.update_publisher import DAY, NOW, Publisher
from updates.client.ask import Place, ask
from updates.client.endpoints import DEFAULT_PATH, endpoint
from updates.client.errors import AskError, DownloadError, NoRoomError, StageError, StoppedError
from updates.client.stage import stage
from updates.errors import Alarm, TrustError
from updates.trust.verdict import Current, Refuse, Wait


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    with small_grid(tmp_path) as made:
        yield made


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


def test_a_silent_endpoint_makes_room_for_the_next(grid: Grid):
    silent = Place(endpoint("http://127.0.0.1:9" + DEFAULT_PATH, "linux-x86_64", "1.0.0"), None)
    outcome = ask((silent, grid.place), grid.installation, grid.facts, NOW)
    assert outcome.place == grid.place


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

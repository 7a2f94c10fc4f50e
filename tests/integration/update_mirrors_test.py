"""Several endpoints: one that lies, drips, never ends or is weeks behind makes room for the next."""

import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from tests.fakes.update_grid import NEW, QUICK, Grid, small_grid
from tests.fakes.update_publisher import DAY, NOW, Publisher
from tests.fakes.update_server import Served, serving
from updates.client.ask import Outcome, Place, ask
from updates.client.download import Patience
from updates.client.endpoints import DEFAULT_PATH, endpoint
from updates.client.errors import DownloadError, StoppedError
from updates.client.fetch import Fetched, fetch
from updates.errors import Alarm, TrustError
from updates.trust.verdict import Current, Install, Refuse, Wait, WaitReason

BRISK = Patience(waits_s=(0.0,), window_s=0.1, least=30_000)


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    with small_grid(tmp_path) as made:
        yield made


@pytest.fixture
def mirror(grid: Grid) -> Iterator[Served]:
    """A second server with the same release, asked before the first."""
    with serving(grid.served.publisher) as served:
        yield served


def place(url: str) -> Place:
    return Place(endpoint(url + DEFAULT_PATH, "linux-x86_64", "1.0.0"), None)


def fetched(grid: Grid, urls: Sequence[str], stop: threading.Event | None = None) -> Fetched:
    places, folder = tuple(map(place, urls)), grid.installation.folder.downloads
    return fetch(
        grid.offer(), places, folder, grid.installation.load, stop or threading.Event(), brisk=BRISK, patient=QUICK
    )


def files_asked(served: Served) -> list[str]:
    return [" ".join(path.split()[1:]) for path in served.asked if path.startswith("/files/")]


@contextmanager
def holding(begins: bytes) -> Iterator[str]:
    """A server that says `begins` and then nothing more."""
    over = threading.Event()

    class Silent(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.wfile.write(begins)
            over.wait()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            over.set()
            server.shutdown()
            thread.join()


# --- the file --------------------------------------------------------------------------------------------------------


def test_wrong_bytes_come_from_the_first_endpoint_the_second_has_the_right_ones(grid: Grid, mirror: Served):
    mirror.faults.other_bytes = bytes(len(grid.served.publisher.file))
    got = fetched(grid, (mirror.url, grid.served.url))
    assert got.file.read_bytes() == grid.served.publisher.file
    assert [mirror.url in complaint and "wrong bytes" in complaint for complaint in got.complaints] == [True]
    assert (files_asked(mirror), files_asked(grid.served)) == ([""], [""])


def test_endless_data_from_the_first_endpoint_does_not_keep_the_second_from_being_asked(grid: Grid, mirror: Served):
    mirror.faults.endless = True
    assert fetched(grid, (mirror.url, grid.served.url)).file.read_bytes() == grid.served.publisher.file
    assert files_asked(mirror) == [""]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "begins",
    [b"", b"HTTP/1.1 200 OK\r\nx-", b"HTTP/1.1 200 OK\r\n\r\nab"],
    ids=["no word", "half a header", "half a body"],
)
def test_a_stalled_mirror_makes_room_for_the_next_and_what_came_stays(grid: Grid, begins: bytes):
    size = len(grid.served.publisher.file)
    with holding(begins) as stalled:
        got = fetched(grid, (stalled, grid.served.url))
    assert got.file.stat().st_size == size
    assert got.complaints == ()


def test_the_good_half_of_a_mirror_that_goes_away_is_not_fetched_again(grid: Grid, mirror: Served):
    mirror.faults.cut_after, mirror.faults.cuts = 1000, 1 << 20
    fetched(grid, (mirror.url, grid.served.url))
    assert files_asked(grid.served) == ["bytes=2000-"]


def test_a_wrong_half_of_a_mirror_that_goes_away_is_not_held_against_the_honest_one(grid: Grid, mirror: Served):
    mirror.faults.other_bytes = bytes(len(grid.served.publisher.file))
    mirror.faults.cut_after, mirror.faults.cuts = 1000, 1 << 20
    got = fetched(grid, (mirror.url, grid.served.url))
    assert got.file.read_bytes() == grid.served.publisher.file
    assert files_asked(grid.served) == ["bytes=2000-", ""]


def test_where_all_of_them_lie_nothing_is_installed_and_each_was_asked_once(grid: Grid, mirror: Served):
    for served in (mirror, grid.served):
        served.faults.other_bytes = bytes(len(grid.served.publisher.file))
    with pytest.raises(TrustError, match="wrong bytes") as refused:
        fetched(grid, (mirror.url, grid.served.url))
    assert refused.value.alarm is Alarm.BAD_SIGNATURE
    assert (files_asked(mirror), files_asked(grid.served)) == ([""], [""])
    assert grid.downloads == []


def test_one_that_is_slow_is_waited_for_when_the_others_have_nothing(grid: Grid, mirror: Served):
    """Cut twice: once too often for somebody brisk, not for somebody patient."""
    grid.served.faults.file_status = 404
    mirror.faults.cut_after, mirror.faults.cuts = 1000, 3
    assert fetched(grid, (mirror.url, grid.served.url)).file.read_bytes() == grid.served.publisher.file
    assert files_asked(mirror) == ["", "bytes=1000-", "bytes=2000-", "bytes=3000-"]


def test_what_nobody_has_is_said_once_for_each(grid: Grid, mirror: Served):
    mirror.faults.file_status = grid.served.faults.file_status = 503
    with pytest.raises(DownloadError) as failed:
        fetched(grid, (mirror.url, grid.served.url))
    assert str(failed.value).count("answers 503") == 2


def test_a_withdrawn_release_is_not_asked_for_elsewhere(grid: Grid, mirror: Served):
    offer, urls = grid.offer(), (mirror.url, grid.served.url)
    withdrawn = grid.installation.change(lambda state: msgspec.structs.replace(state, revoked=(NEW,)))
    places, folder = tuple(map(place, urls)), grid.installation.folder.downloads
    with pytest.raises(TrustError, match="withdrawn"):
        fetch(offer, places, folder, lambda: withdrawn, threading.Event(), brisk=BRISK)
    assert files_asked(grid.served) == []


@pytest.mark.timeout(10)
def test_who_asks_a_stalled_download_to_stop_waits_for_no_byte(grid: Grid):
    stop = threading.Event()
    with holding(b"HTTP/1.1 200 OK\r\n\r\nab") as stalled:
        download = grid.download(stop)
        download._place, download._patience = place(stalled), Patience(window_s=600.0)
        download._moved = lambda have: stop.set()
        with pytest.raises(StoppedError):
            download.run(grid.installation.load)
    assert grid.downloads == [".unverified"]


def test_who_asks_to_stop_during_the_check_waits_for_no_hash_and_what_came_is_used_next_time(grid: Grid):
    stop = threading.Event()
    download = grid.download(stop, lambda label: stop.set() if label == "downloaded" else None)
    with pytest.raises(StoppedError):
        download.run(grid.installation.load)
    assert grid.downloads == [".unverified"]
    grid.fetch()
    assert files_asked(grid.served) == [""]


# --- the documents ---------------------------------------------------------------------------------------------------


def asked(grid: Grid, *urls: str, now: float = NOW) -> Outcome:
    return ask(tuple(map(place, urls)), grid.installation, grid.facts, now)


def test_a_lying_endpoint_keeps_nobody_from_updates_and_is_told(grid: Grid):
    with serving(Publisher(seq=9, release_by="thief", timestamp_by="thief")) as liar:
        outcome = asked(grid, liar.url, grid.served.url)
    assert isinstance(outcome.verdict, Install)
    assert outcome.place == grid.place
    assert [liar.url in complaint and "not to be believed" in complaint for complaint in outcome.complaints] == [True]


def test_what_is_no_answer_makes_room_for_the_next(grid: Grid, mirror: Served):
    mirror.faults.answer = b"<html>Please log in to this network</html>"
    outcome = asked(grid, mirror.url, grid.served.url)
    assert isinstance(outcome.verdict, Install)
    assert len(outcome.complaints) == 1


def test_a_frozen_mirror_does_not_freeze_who_has_another(grid: Grid):
    with serving(Publisher(seq=6, ts_seq=4, at=NOW - 30 * DAY)) as frozen:
        outcome = asked(grid, frozen.url, grid.served.url)
        assert isinstance(outcome.verdict, Install)
        alone = asked(grid, frozen.url)
    assert isinstance(alone.verdict, Refuse)  # older than what was seen meanwhile


def test_a_mirror_that_is_silent_since_the_last_word_expired_is_not_the_last_that_is_asked(grid: Grid, mirror: Served):
    asked(grid, grid.served.url)
    grid.served.publisher.at, grid.served.publisher.ts_seq, grid.served.publisher.seq = NOW + 8 * DAY, 11, 8
    mirror.faults.status = 204
    assert asked(grid, mirror.url, grid.served.url, now=NOW + 5 * DAY).verdict == Current()
    assert isinstance(asked(grid, mirror.url, grid.served.url, now=NOW + 8 * DAY).verdict, Install)


def test_the_gravest_is_told_where_nobodys_word_counts(grid: Grid):
    with (
        serving(Publisher(seq=6, at=NOW - 8 * DAY)) as expired,
        serving(Publisher(seq=9, release_by="thief")) as liar,
    ):
        assert isinstance(asked(grid, expired.url, liar.url).verdict, Refuse)
        verdict = asked(grid, expired.url, "http://127.0.0.1:9").verdict
    assert isinstance(verdict, Wait)
    assert verdict.reason is WaitReason.EXPIRED


def test_an_older_word_than_the_first_endpoints_is_not_taken_from_the_second(grid: Grid):
    """What a refused endpoint proved counts all the same: nobody shows an older one behind it."""
    newer = Publisher(seq=9, ts_seq=30, bend_release=lambda release: release.update(app="gogrid-engine"))
    with serving(newer) as first:
        verdict = asked(grid, first.url, grid.served.url).verdict
    assert isinstance(verdict, Refuse)
    assert verdict.alarm is Alarm.WRONG_APP

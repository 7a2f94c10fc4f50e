"""Slow retrieval, and debris in the folder of the app: neither keeps a machine from its updates."""

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.fakes import little_app
from tests.fakes.update_grid import NEW, Grid, small_grid
from tests.fakes.update_publisher import NOW
from updates.client.ask import Place, ask
from updates.client.disk import only_one
from updates.client.endpoints import DEFAULT_PATH, endpoint
from updates.client.errors import AskError, DownloadError
from updates.client.stage import stage
from updates.client.switch import switch
from updates.errors import StateFileError
from updates.trust.verdict import Install


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    with small_grid(tmp_path) as made:
        yield made


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
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
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


@pytest.mark.parametrize("name", ["start.lock", "state.lock", "update.lock"])
def test_debris_in_the_place_of_a_lock_does_not_block_updates(grid: Grid, name: str):
    block(grid.installation.folder.root / name, "folder")
    with only_one(grid.installation.folder.root / name) as alone:
        assert alone


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

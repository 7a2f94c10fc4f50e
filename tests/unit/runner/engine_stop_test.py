"""The owner comes back, or somebody quits, while an engine pack is read, unpacked or checked; and two at one shelf."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gogrid.file_lock import FileLock
from runner.engine_pack.shelf import Shelf, ShelfBusyError, verify
from tests.fakes.engine_packs import pack
from updates.client.errors import StoppedError


def stop_at(number: int) -> tuple[Callable[[], bool], list[int]]:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) >= number

    return stop, asked


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, str]:
    path, data = tmp_path / "pack.zip", pack("stop")
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def test_wherever_an_installation_is_stopped_there_is_no_pack_and_the_next_one_succeeds(
    archive: tuple[Path, str], tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "engines")
    stops = 0
    while True:
        stop, asked = stop_at(stops + 1)
        try:
            made = shelf.install(*archive, stop)
            break
        except StoppedError:
            stops += 1
            assert shelf.packs() == ((), ())
            assert not (tmp_path / "engines").exists() or list((tmp_path / "engines").iterdir()) == []
    assert stops == len(asked) > 5
    assert shelf.packs() == ((made,), ())


def test_reading_a_pack_that_is_there_is_stopped_too_and_leaves_it(archive: tuple[Path, str], tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "engines")
    made = shelf.install(*archive)
    with pytest.raises(StoppedError):
        verify(made, stop_at(2)[0])
    with pytest.raises(StoppedError):
        shelf.install(*archive, stop_at(3)[0])
    assert shelf.packs() == ((made,), ())


def test_two_who_change_one_shelf_at_once_the_second_says_so_and_spoils_nothing(
    archive: tuple[Path, str], tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "engines")
    made = shelf.install(*archive)
    of_the_first = tmp_path / "engines/.fresh-1"
    of_the_first.mkdir()
    with FileLock(tmp_path / "engines.lock"):
        for deed in (lambda: shelf.install(*archive), lambda: shelf.remove(made.sha256), shelf.sweep):
            with pytest.raises(ShelfBusyError, match="Another GoGrid"):
                deed()
        assert of_the_first.is_dir()
    shelf.sweep()
    assert not of_the_first.exists()
    assert shelf.packs() == ((made,), ())


def test_the_lock_is_let_go_by_whoever_was_stopped(archive: tuple[Path, str], tmp_path: Path) -> None:
    shelf, failed = Shelf(tmp_path / "engines"), threading.Event()
    with pytest.raises(StoppedError):
        shelf.install(*archive, lambda: not failed.set())
    shelf.install(*archive)

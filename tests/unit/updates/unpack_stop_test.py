"""Whoever asks an unpacking to stop waits for one piece at most, and nothing of it is left."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from updates import archive as unpacking
from updates.archive import Bounds, UnpackStoppedError, unpack

MB = 1 << 20
BOUNDS = Bounds(64 * MB)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Two files in a folder each, one of 3 MB."""
    path = tmp_path / "pack.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("one/", b"")
        made.writestr("one/large", os.urandom(3 * MB))
        made.writestr("two/small", b"x")
    return path


def stop_at(number: int) -> Callable[[], bool]:
    asked = iter(range(1, 1 << 20))
    return lambda: next(asked) >= number


def test_stop_is_looked_for_at_every_piece_of_every_file_and_before_every_flush(packed: Path, tmp_path: Path) -> None:
    seen: list[None] = []
    unpack(packed, tmp_path / "out", BOUNDS, lambda: bool(seen.append(None)))
    members, pieces, flushes = 3, 3 + 1, 2
    assert len(seen) == members + pieces + flushes


@pytest.mark.parametrize("number", range(1, 10))
def test_wherever_an_unpacking_is_stopped_nothing_is_left(packed: Path, tmp_path: Path, number: int) -> None:
    with pytest.raises(UnpackStoppedError):
        unpack(packed, tmp_path / "out", BOUNDS, stop_at(number))
    assert [path.name for path in tmp_path.iterdir()] == ["pack.zip"]


def test_a_large_file_goes_to_the_disk_in_parts(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_FLUSHED", MB)
    real, flushed = os.fsync, []

    def fsync(handle: int) -> None:
        flushed.append(os.fstat(handle).st_size)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    unpack(packed, tmp_path / "out", BOUNDS)
    assert flushed[:3] == [MB, 2 * MB, 3 * MB]

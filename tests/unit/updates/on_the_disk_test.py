"""A power cut after any step: what counts was flushed before it got its name, and the name after."""

import hashlib
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.engine_pack.shelf import Shelf
from tests.fakes.engine_packs import pack
from updates.archive import Bounds, unpack
from updates.client import disk
from updates.client.disk import write_whole

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a handle leads to is read from /proc")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was flushed and renamed, in order: `flush NAME`, `rename NAME`."""
    events: list[str] = []
    fsync, rename = os.fsync, os.rename

    def flushed(handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        events.append(f"flush {path.relative_to(tmp_path).as_posix()}")
        fsync(handle)

    def renaming(real: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def named(source: Path, target: Path) -> None:
            events.append(f"rename {Path(target).relative_to(tmp_path).as_posix()}")
            real(source, target)

        return named

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "rename", renaming(rename))
    monkeypatch.setattr(os, "replace", renaming(os.replace))
    return events


def test_what_is_remembered_is_flushed_before_and_after_it_gets_its_name(seen: list[str], tmp_path: Path) -> None:
    write_whole(tmp_path / "state.json", b"{}")
    assert seen == [f"flush .state.json.{os.getpid()}", "rename state.json", "flush ."]


def test_a_name_that_somebody_is_to_find_again_is_flushed(seen: list[str], tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/.7.new").mkdir()
    disk.rename(tmp_path / "app/.7.new", tmp_path / "app/7")
    assert seen == ["rename app/7", "flush app"]


def test_every_file_and_folder_of_an_archive_is_flushed(seen: list[str], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as made:
        for name in ("a", "one/b", "one/two/c"):
            made.writestr(name, name)
        made.writestr("empty/", b"")
    unpack(tmp_path / "p.zip", tmp_path / "out", Bounds(1 << 20))
    names = ("a", "one/b", "one/two/c", "one/two", "one", "empty")
    assert sorted(seen) == sorted(["flush out", *(f"flush out/{name}" for name in names)])


def test_a_pack_gets_its_name_after_all_of_it_is_on_the_disk(seen: list[str], tmp_path: Path) -> None:
    data = pack("flushed")
    (tmp_path / "p.zip").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    Shelf(tmp_path / "engines").install(tmp_path / "p.zip", sha256)
    at = seen.index(f"rename engines/{sha256}")
    assert seen[at + 1 :] == ["flush engines"]
    assert len([event for event in seen[:at] if event.startswith("flush engines/.fresh-")]) > 8

"""The extractor: what it writes, what it refuses, and that a refusal leaves nothing."""

import errno
import hashlib
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from updates import archive
from updates.archive import ArchiveError, Bounds, unpack

BOUNDS = Bounds(total_bytes=10_000_000)
LINK, DEVICE, FIFO = stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o666, stat.S_IFIFO | 0o644


def make(folder: Path, *members: tuple[str, bytes, int]) -> Path:
    """A zip of (name, data, mode) as they stand; `zipfile` is talked out of its own corrections."""
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name, data, mode in members:
            made.NameToInfo.clear()
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            made.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


def refused(path: Path, bounds: Bounds = BOUNDS) -> str:
    into = path.parent / "into"
    with pytest.raises(ArchiveError) as caught:
        unpack(path, into, bounds)
    assert not into.exists()
    return str(caught.value)


def test_writes_files_and_folders_and_keeps_only_the_executable_bit(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        ("bin/", b"", stat.S_IFDIR | 0o777),
        ("bin/run", b"#!", stat.S_IFREG | 0o6777),
        ("lib/deep/er/data", b"x" * 70_000, stat.S_IFREG | 0o666),
        ("empty", b"", 0),
    )
    found = unpack(path, tmp_path / "into", BOUNDS)
    assert [each.name for each in found] == ["bin/run", "lib/deep/er/data", "empty"]
    assert found[1].sha256 == hashlib.sha256(b"x" * 70_000).hexdigest()
    run = tmp_path / "into/bin/run"
    assert found[0].executable
    assert run.read_bytes() == b"#!"
    assert stat.S_IMODE(run.stat().st_mode) & ~0o755 == 0
    assert not (tmp_path / "into/lib/deep/er/data").stat().st_mode & 0o111


@pytest.mark.parametrize(
    "name",
    [
        "../out", "a/../../out", "/etc/passwd", "//host/share", "C:/x", "c:x", "a\\b", "a\\..\\..\\b", "a//b", "./a",
        "a/.", "a/..", "..", ".", "", "/", "a\0b", "a\nb", "a\x7fb", "CON", "nul.txt", "a/Aux.c", "COM1", "lpt9.log",
        "com\u00b9", "conin$", "file.", "file ", "a /b", "x:stream", 'a"b', "a*b", "a?b", "a<b", "a|b", "e\u0301",
        "x" * 256, "a/" * 40 + "b", "\u00e9" * 128, "nul .txt",
    ],
)  # fmt: skip
def test_refuses_names_that_some_system_reads_otherwise(tmp_path: Path, name: str) -> None:
    refused(make(tmp_path, ("good", b"", 0), (name, b"evil", 0)))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.zip"]


@pytest.mark.parametrize("mode", [LINK, DEVICE, FIFO, stat.S_IFSOCK, stat.S_IFDIR | 0o755])
def test_refuses_links_devices_and_kinds_that_do_not_fit_the_name(tmp_path: Path, mode: int) -> None:
    assert "neither a file nor a folder" in refused(make(tmp_path, ("name", b"/etc/passwd", mode)))


def test_refuses_a_folder_name_for_a_file_kind_and_contents_of_folders(tmp_path: Path) -> None:
    refused(make(tmp_path, ("name/", b"", stat.S_IFREG)))
    refused(make(tmp_path, ("name/", b"data", 0)))


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a"),
        ("a", "A"),
        ("straße", "STRASSE"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("A/x", "a/y"),
        ("\ufb01", "fi"),
        ("a/", "a"),
    ],
)
def test_refuses_names_that_one_file_system_takes_for_one(tmp_path: Path, names: tuple[str, str]) -> None:
    refused(make(tmp_path, *((name, b"", 0) for name in names)))


def test_refuses_more_members_bytes_or_compression_than_agreed(tmp_path: Path) -> None:
    three = make(tmp_path, *((f"f{number}", os.urandom(100), 0) for number in range(3)))
    assert "3 members" in refused(three, Bounds(1000, members=2))
    assert "unpacks to 300 bytes" in refused(three, Bounds(299))
    bomb = make(tmp_path, ("zeros", bytes(30_000_000), 0))
    assert "200 times" in refused(bomb, Bounds(10**9))
    hidden = make(tmp_path, ("zeros", bytes(30_000_000), 0), ("noise", os.urandom(1 << 20), 0))
    assert "'zeros' in the archive unpacks to more than 200 times" in refused(hidden, Bounds(10**9))
    many = make(tmp_path, *((f"z{number}", bytes(1 << 20), 0) for number in range(40)))
    assert "The archive unpacks to more than 200 times" in refused(many, Bounds(10**9))


def test_a_list_of_members_too_long_to_hold_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, *((f"{number:05}" + "n" * 200, b"", 0) for number in range(400)))
    monkeypatch.setattr(zipfile, "ZipFile", None)  # reaching it would be a TypeError
    assert "list of members" in refused(path, Bounds(1000, members=20))


def test_refuses_members_that_share_bytes(tmp_path: Path) -> None:
    path = make(tmp_path, ("one", b"x" * 1000, 0), ("two", b"y" * 1000, 0))
    data = bytearray(path.read_bytes())
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    data[second + 42 : second + 46] = struct.pack("<L", 0)
    path.write_bytes(data)
    assert "overlap" in refused(path)


@pytest.mark.parametrize(
    "change", [lambda d: b"MZ junk" + d, lambda d: d + b"junk", lambda d: b"", lambda d: d[:-1], lambda d: d[:100]]
)
def test_refuses_bytes_before_after_or_missing(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = make(tmp_path, ("name", os.urandom(300), 0))
    path.write_bytes(change(path.read_bytes()))
    refused(path)


def test_refuses_encryption_comments_and_other_methods(tmp_path: Path) -> None:
    path = make(tmp_path, ("name", b"data", 0))
    whole = path.read_bytes()
    for flag in (0x1, 0x40, 0x2000):
        changed = bytearray(whole)
        changed[changed.index(b"PK\x01\x02") + 8] |= flag & 0xFF
        changed[changed.index(b"PK\x01\x02") + 9] |= flag >> 8
        path.write_bytes(changed)
        assert "encrypted" in refused(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as made:
        made.writestr("name", b"data")
    assert "not used here" in refused(path)
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("name", b"data")
        made.comment = b"hello"
    refused(path)
    with zipfile.ZipFile(path, "w"):
        pass
    assert "empty" in refused(path)


def test_a_changed_byte_of_a_member_is_noticed_and_leaves_nothing(tmp_path: Path) -> None:
    path = make(tmp_path, ("first", b"fine", 0), ("second", os.urandom(5000), 0))
    data = bytearray(path.read_bytes())
    data[data.index(b"second") + 1000] ^= 1
    path.write_bytes(data)
    assert "damaged" in refused(path) or "size it says" in refused(path)


def test_never_into_a_folder_that_exists_nor_through_a_link(tmp_path: Path) -> None:
    path = make(tmp_path, ("name", b"data", 0))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "into").symlink_to(elsewhere)
    with pytest.raises(FileExistsError):
        unpack(path, tmp_path / "into", BOUNDS)
    assert not list(elsewhere.iterdir())


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="paths are used there")
def test_a_link_put_there_meanwhile_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = make(tmp_path, ("sub/", b"", 0), ("sub/name", b"data", 0))
    make_one = archive._Tree._make_one

    def swap(tree: archive._Tree, parts: tuple[str, ...]) -> None:
        fresh = parts not in tree._made
        make_one(tree, parts)
        if fresh:
            (tmp_path / "into/sub").rmdir()
            (tmp_path / "into/sub").symlink_to(elsewhere)

    monkeypatch.setattr(archive._Tree, "_make_one", swap)
    with pytest.raises(OSError, match=r"sub"):
        unpack(path, tmp_path / "into", BOUNDS)
    assert not list(elsewhere.iterdir())


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, ("one", b"x", 0), ("two", b"y", 0))
    create = archive._Tree.create

    def full(tree: archive._Tree, parts: tuple[str, ...], *, executable: bool) -> object:
        if parts == ("two",):
            raise OSError(errno.ENOSPC, "no room")
        return create(tree, parts, executable=executable)

    monkeypatch.setattr(archive._Tree, "create", full)
    with pytest.raises(OSError, match="no room"):
        unpack(path, tmp_path / "into", BOUNDS)
    assert not (tmp_path / "into").exists()


def test_the_same_without_directory_handles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setattr(os, "supports_dir_fd", set())
    path = make(tmp_path, ("a/b/c", b"data", 0), ("d", b"", 0))
    assert [each.name for each in unpack(path, tmp_path / "into", BOUNDS)] == ["a/b/c", "d"]
    assert (tmp_path / "into/a/b/c").read_bytes() == b"data"

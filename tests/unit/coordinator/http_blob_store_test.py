"""The blob store: whole or not there, under its own hash, nothing left behind."""

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.errors import NotFoundError, RequestError, StorageFullError, StoreUnavailableError
from coordinator.state.blobs import BlobStore
from coordinator.state.room import Room
from gogrid.ids import Sha256


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def leftovers(store: BlobStore) -> list[Path]:
    return list(store._temporary.iterdir())


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def sha256(data: bytes) -> Sha256:
    return Sha256(hashlib.sha256(data).hexdigest())


@given(chunks=st.lists(st.binary(max_size=99)))
@settings(max_examples=30, deadline=None)
def test_what_goes_in_comes_out_under_its_hash(tmp_path_factory, chunks):
    store = BlobStore(tmp_path_factory.mktemp("blobs"))
    data = b"".join(chunks)
    stored = asyncio.run(store.put(pieces(*chunks), limit=len(data)))
    assert (stored.sha256, stored.size) == (sha256(data), len(data))
    with store.open(stored.sha256) as file:
        assert file.read() == data
    assert store.size(stored.sha256) == len(data)
    assert list(store.digests()) == [stored.sha256]
    assert store.put_bytes(data) == stored
    assert leftovers(store) == []


async def test_big_streams_are_written_in_pieces(store):
    chunk = bytes(300_000)
    stored = await store.put(pieces(*[chunk] * 10), limit=3_000_000)
    assert stored == (store.put_bytes(chunk * 10))


async def test_wrong_hash_is_refused_and_leaves_nothing(store):
    with pytest.raises(RequestError, match="have the hash"):
        await store.put(pieces(b"x"), limit=9, expected=sha256(b"y"))
    assert list(store.digests()) == []
    assert leftovers(store) == []


async def test_too_much_is_refused_and_leaves_nothing(store):
    with pytest.raises(RequestError, match="larger than the 5 bytes"):
        await store.put(pieces(b"123", b"456"), limit=5)
    assert leftovers(store) == []


async def test_a_cut_upload_leaves_nothing(store):
    async def cut() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.put(cut(), limit=99)
    assert list(store.digests()) == []
    assert leftovers(store) == []


def test_put_file_copies_whatever_the_file_system_can_share(store, tmp_path):
    source = tmp_path / "weights"
    source.write_bytes(b"w" * 100_000)
    stored = store.put_file(source)
    source.write_bytes(b"changed later")
    with store.open(stored.sha256) as file:
        assert file.read() == b"w" * 100_000
    assert (stored.sha256, stored.size) == (sha256(b"w" * 100_000), 100_000)
    with pytest.raises(FileNotFoundError):
        store.put_file(tmp_path / "missing")
    assert leftovers(store) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
async def test_disk_full_is_said_clearly_and_leaves_nothing(store, tmp_path, monkeypatch, code):
    def full(_fd: int) -> None:
        raise OSError(code, "full")

    source = tmp_path / "x"
    source.write_bytes(b"x")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFullError, match="free some space"):
        await store.put(pieces(b"x"), limit=9)
    with pytest.raises(StorageFullError):
        store.put_bytes(b"x")
    with pytest.raises(StorageFullError):
        store.put_file(source)
    assert list(store.digests()) == []
    assert leftovers(store) == []


def test_start_removes_what_a_crash_left_but_not_what_another_process_writes_now(store):
    for name, age in (("crashed", 7200.0), ("writing", 10.0)):
        path = store._temporary / name
        path.write_bytes(b"half")
        os.utime(path, (1_000_000.0 - age, 1_000_000.0 - age))
    assert store.remove_leftovers(now=1_000_000.0) == 1
    assert [path.name for path in leftovers(store)] == ["writing"]


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "ab", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_names_that_are_no_hash_are_nothing(store, name):
    with pytest.raises(NotFoundError):
        store.open(name)


def test_a_deleted_blob_is_gone_and_deleting_twice_is_fine(store):
    digest = store.put_bytes(b"x").sha256
    store.delete(digest)
    store.delete(digest)
    assert store.size(digest) is None
    with pytest.raises(NotFoundError):
        store.open(digest)


def test_an_io_error_is_said_as_such_and_leaves_nothing(store, monkeypatch):
    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StoreUnavailableError, match="fails now"):
        store.put_bytes(b"x")
    assert list(store.digests()) == []
    assert leftovers(store) == []


async def test_blobs_leave_the_database_its_room(tmp_path):
    free = [100 << 20]
    store = BlobStore(tmp_path / "blobs", Room(tmp_path, lambda _folder: (1 << 40, free[0])))
    store.put_bytes(b"x")
    free[0] = (64 << 20) - 1
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with pytest.raises(StorageFullError, match="nearly full"):
        store.put_bytes(b"y")
    with pytest.raises(StorageFullError):
        store.put_file(source)
    with pytest.raises(StorageFullError):
        await store.put(pieces(b"y"), limit=9)
    assert store.put_bytes(b"x").size == 1, "what is here needs no room"
    free[0] = 65 << 20
    store.put_bytes(b"y")


def test_a_blob_stored_again_becomes_young(store):
    digest = store.put_bytes(b"x").sha256
    os.utime(store.path(digest), (1.0, 1.0))
    store.put_bytes(b"x")
    assert store.remove_unnamed(frozenset(), before=1000.0) == 0
    assert store.size(digest) == 1


def test_a_blob_stored_again_while_it_is_removed_stays(store, monkeypatch):
    digest = store.put_bytes(b"x").sha256
    os.utime(store.path(digest), (1.0, 1.0))
    rename = os.replace

    def stored_again_just_before(source, target):
        if source == store.path(digest):
            store._keep(digest, 1)
        rename(source, target)

    monkeypatch.setattr(os, "replace", stored_again_just_before)
    assert store.remove_unnamed(frozenset(), before=1000.0) == 0
    assert store.size(digest) == 1
    assert leftovers(store) == []

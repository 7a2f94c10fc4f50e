"""The content-addressed store of models, job inputs and job outputs: a file per SHA-256 below one folder.

Promises: a blob that can be seen is whole, has the hash it is named by and is on disk (file and folder flushed) before
any `put` returns; a failed or cut `put` leaves nothing but a file in `tmp/`, which a later start removes; several
processes may write at once. Not checked: that a blob's bytes stay as they were written; readers verify what they fetch.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from coordinator.errors import NotFoundError, RequestError, StorageFullError, StoreUnavailableError
from coordinator.state.room import Room
from gogrid.files import flush_folder, make_folder
from gogrid.ids import Sha256
from gogrid.manifest import digest_of

_DIGEST = re.compile(r"[0-9a-f]{64}")
_WRITE_BYTES = 1 << 20
_LEFTOVER_S = 3600.0
_FICLONE = 0x40049409
"""Linux `ioctl` that shares the extents of another file instead of copying them (linux/fs.h)."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    sha256: Sha256
    size: int
    """Bytes."""


class BlobStore:
    """Blobs below `root`, which is made if it is not there; `room`: of its disk, if not given."""

    def __init__(self, root: Path, room: Room | None = None) -> None:
        self._root = root
        self._room = room or Room(root)
        self._temporary = root / "tmp"
        make_folder(self._temporary)

    def remove_leftovers(self, now: float) -> int:
        """Remove what cut writes left an hour ago or earlier; how many. `now` is the wall clock."""
        removed = 0
        for path in self._temporary.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if now - path.stat().st_mtime > _LEFTOVER_S:
                    path.unlink()
                    removed += 1
        return removed

    def size(self, digest: str) -> int | None:
        """Bytes of a blob; None if it is not here."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def open(self, digest: str) -> BinaryIO:
        """A blob for reading; raises `NotFoundError`."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise NotFoundError("There is no such blob.") from None

    async def put(self, chunks: AsyncIterator[bytes], limit: int, expected: Sha256 | None = None) -> StoredBlob:
        """Store a stream of bytes.

        Raises:
            RequestError: more than `limit` bytes, or not the bytes that `expected` names.
            StorageFullError: the disk is full.
            StoreUnavailableError: the disk fails.
        """
        self._room.require()
        writer = _Writer(self._temporary)
        try:
            pending, size = bytearray(), 0
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise RequestError(f"The blob is larger than the {limit} bytes allowed now.", None, "too_large")
                pending += chunk
                if len(pending) >= _WRITE_BYTES:
                    self._room.require(len(pending))
                    await asyncio.to_thread(writer.write, bytes(pending))
                    pending.clear()
            return await asyncio.to_thread(self._finish, writer, bytes(pending), expected)
        except BaseException:
            writer.discard()
            raise

    def put_bytes(self, data: bytes) -> StoredBlob:
        """Store bytes at hand; blocks for the flush. Raises `StorageFullError`."""
        digest = digest_of(data)
        if self._keep(digest, len(data)):
            return StoredBlob(digest, len(data))
        self._room.require(len(data))
        writer = _Writer(self._temporary)
        try:
            return self._finish(writer, data, None)
        except BaseException:
            writer.discard()
            raise

    def put_file(self, source: Path) -> StoredBlob:
        """Store a copy of a file, sharing its extents where the file system can; blocks. Raises `StorageFullError`.

        What is hashed is the copy, so a source that changes meanwhile does no harm.
        """
        target = self._temporary / secrets.token_hex(16)
        self._room.require(source.stat().st_size)
        try:
            with _disk_errors():
                _clone_or_copy(source, target)
                with target.open("rb+") as file:
                    digest = Sha256(hashlib.file_digest(file, "sha256").hexdigest())
                    size = file.tell()
                    os.fsync(file.fileno())
                self._publish(target, digest)
        except BaseException:
            with contextlib.suppress(OSError):
                target.unlink(missing_ok=True)
            raise
        return StoredBlob(digest, size)

    def put_open(self, source: BinaryIO, expected: Sha256) -> StoredBlob:
        """Store the rest of an open file; blocks. Raises like `put`."""
        writer = _Writer(self._temporary)
        try:
            while chunk := source.read(_WRITE_BYTES):
                writer.write(chunk)
            return self._finish(writer, b"", expected)
        except BaseException:
            writer.discard()
            raise

    def delete(self, digest: str) -> None:
        """Forget a blob; fine if it is not here."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[Sha256]:
        """Every blob here, in no order."""
        for folder in self._root.iterdir():
            if len(folder.name) == 2 and folder.is_dir():
                for path in folder.iterdir():
                    if _DIGEST.fullmatch(path.name):
                        yield Sha256(path.name)

    def remove_unnamed(self, named: frozenset[str], before: float) -> int:
        """Remove blobs that are not in `named` and were stored before that moment (wall clock); how many.

        One that is stored again at this very moment stays: it is moved away first, and back if it has become young.
        """
        removed = 0
        for digest in self.digests():
            path = self.path(digest)
            with contextlib.suppress(FileNotFoundError):
                if digest in named or path.stat().st_mtime >= before:
                    continue
                aside = self._temporary / secrets.token_hex(16)
                os.replace(path, aside)
                if aside.stat().st_mtime >= before:
                    self._publish(aside, digest)
                else:
                    aside.unlink()
                    removed += 1
        return removed

    def _keep(self, digest: Sha256, size: int) -> bool:
        """Make a blob young, so that nobody removes it, and sure to be on disk; False if it is not here."""
        path = self.path(digest)
        try:
            os.utime(path)
            flush_folder(path.parent)
            return path.stat().st_size == size
        except FileNotFoundError:
            return False

    def _finish(self, writer: "_Writer", rest: bytes, expected: Sha256 | None) -> StoredBlob:
        stored = writer.finish(rest)
        if expected is not None and stored.sha256 != expected:
            raise RequestError(f"The bytes sent have the hash {stored.sha256}, not {expected}.", None, "hash_mismatch")
        with _disk_errors():
            self._publish(writer.path, stored.sha256)
        return stored

    def _publish(self, temporary: Path, digest: Sha256) -> None:
        target = self.path(digest)
        make_folder(target.parent)
        os.replace(temporary, target)
        flush_folder(target.parent)

    def path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise NotFoundError("A blob is named by 64 hexadecimal characters.")
        return self._root / digest[:2] / digest


class _Writer:
    """One blob being written to a temporary file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / secrets.token_hex(16)
        with _disk_errors():
            self._file = self.path.open("xb", buffering=0)
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._size += len(data)
        with _disk_errors():
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]

    def finish(self, rest: bytes) -> StoredBlob:
        self.write(rest)
        with _disk_errors():
            os.fsync(self._file.fileno())
            self._file.close()
        return StoredBlob(Sha256(self._hash.hexdigest()), self._size)

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # the error that led here is the one to tell
            self._file.close()
            self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFullError("The coordinator's disk is full: free some space and try again.") from error
        if error.errno in (errno.EIO, errno.EROFS):
            raise StoreUnavailableError(f"The coordinator's disk fails now ({error}); try again later.") from error
        raise


def _clone_or_copy(source: Path, target: Path) -> None:
    if sys.platform == "linux":
        import fcntl

        with source.open("rb") as original, target.open("xb") as copy:
            try:
                fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
            except OSError:
                shutil.copyfileobj(original, copy, _WRITE_BYTES)
    else:
        shutil.copyfile(source, target)

"""The two forms of a backup, a folder and a `.tar`, behind one small seam.

Promises: readable by its owner only; under its name only when whole and on disk. A source gives regular files with
the names that a backup has: whatever else lies there is not looked at; links, pipes and devices of those names are
refused, and never opened.
"""

import errno
import io
import os
import re
import shutil
import stat
import tarfile
from pathlib import Path
from typing import BinaryIO, Protocol

from coordinator.errors import StateError
from gogrid.files import flush_folder, make_folder

_NAMES = re.compile(r"[a-z-]+\.[a-z]+|blobs/([0-9a-f]{2})/\1[0-9a-f]{62}")
"""What a backup may hold."""


class Target(Protocol):
    def add_bytes(self, name: str, data: bytes) -> None: ...

    def add_file(self, name: str, source: Path) -> None: ...

    def add_blob(self, name: str, source: Path) -> None:
        """Like `add_file` for a file that nobody changes: may share its bytes."""

    def publish(self, path: Path) -> None:
        """Give it its name; it is whole and on disk then."""

    def close(self) -> None:
        """Safe to call twice, and after `publish`."""


class Source(Protocol):
    def names(self) -> list[str]: ...

    def open(self, name: str) -> BinaryIO:
        """Raises `FileNotFoundError`, and `StateError` for what is no regular file."""

    def close(self) -> None: ...


class FolderTarget:
    """Builds the backup in `scratch`, on the file system where it will stay."""

    def __init__(self, scratch: Path) -> None:
        self._root = scratch
        make_folder(scratch)

    def add_bytes(self, name: str, data: bytes) -> None:
        self._write(name, io.BytesIO(data))

    def add_file(self, name: str, source: Path) -> None:
        with source.open("rb") as file:
            self._write(name, file)

    def add_blob(self, name: str, source: Path) -> None:
        target = self._root / name
        make_folder(target.parent)
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
                raise
            self.add_file(name, source)

    def publish(self, path: Path) -> None:
        for folder, _, _ in os.walk(self._root):
            flush_folder(Path(folder))
        os.rename(self._root, path)
        flush_folder(path.parent)

    def close(self) -> None:
        pass

    def _write(self, name: str, source: BinaryIO) -> None:
        with open(self._root / name, "xb", opener=_private) as file:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())


class TarTarget:
    """Builds the archive in the file `scratch`, on the file system where it will stay."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._file = open(scratch, "xb", opener=_private)  # noqa: SIM115  # closed by `close`
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add_bytes(self, name: str, data: bytes) -> None:
        self._add(name, io.BytesIO(data), len(data))

    def add_file(self, name: str, source: Path) -> None:
        with source.open("rb") as file:
            self._add(name, file, os.fstat(file.fileno()).st_size)

    def add_blob(self, name: str, source: Path) -> None:
        self.add_file(name, source)

    def publish(self, path: Path) -> None:
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.link(self._scratch, path)  # unlike a rename, never over what has come there meanwhile
        flush_folder(path.parent)

    def close(self) -> None:
        self._file.close()

    def _add(self, name: str, source: BinaryIO, size: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o600
        self._tar.addfile(entry, source)


class FolderSource:
    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        found = (Path(folder, name) for folder, _, files in os.walk(self._root) for name in files)
        names = (path.relative_to(self._root).as_posix() for path in found)
        return [name for name in names if _NAMES.fullmatch(name)]

    def open(self, name: str) -> BinaryIO:
        path = self._root / name
        if not stat.S_ISREG(path.lstat().st_mode):  # before it is opened: a pipe would wait for its writer
            raise StateError(f"{path} is a link, a folder, a pipe or a device; a backup holds files only.")
        return path.open("rb")

    def close(self) -> None:
        pass


class TarSource:
    """Raises `StateError` if it is no archive, or one that was cut off."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            self._tar = tarfile.open(fileobj=self._file, mode="r:")  # noqa: SIM115  # closed by `close`
            self._members = {each.name: each for each in self._tar.getmembers() if _NAMES.fullmatch(each.name)}
        except tarfile.TarError as error:
            self._file.close()
            raise StateError(f"{path} is no backup of a coordinator, or was cut off: {error}.") from None

    def names(self) -> list[str]:
        return list(self._members)

    def open(self, name: str) -> BinaryIO:
        member = self._members.get(name)
        if member is None:
            raise FileNotFoundError(name)
        file = self._tar.extractfile(member) if member.isreg() else None
        if file is None:
            raise StateError(f"{name} in the backup is a link or a device; a backup holds files only.")
        return file  # type: ignore[return-value]  # typeshed's IO[bytes]; it is a BufferedReader

    def close(self) -> None:
        self._tar.close()
        self._file.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

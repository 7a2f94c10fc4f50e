"""A folder with everything that is published together, and how files come into it: whole, flushed, never over another.

    keys/keys-1.json, keys/keys-1.json.KEYID.minisig    every epoch, signed by several root keys
    release.json, release.json.minisig
    timestamps/timestamp-41.json, ….minisig             one for each percent of the rollout
    files/NAME                                          what the release names

Nothing read here is trusted; `trust.publication` checks it.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from updates.client.disk import flush_folder
from updates.errors import FolderError, TrustError
from updates.trust.artifact import check_file
from updates.trust.chain import MOST_EPOCHS, SignedDocument, SignedKeys
from updates.trust.documents import LARGEST_RELEASE, MOST_ROOT_SIGNATURES
from updates.trust.publication import Checked, Publication

MOST_TIMESTAMPS = 1024
_KEYS = re.compile(r"keys-([1-9][0-9]{0,15})\.json")
_TIMESTAMP = re.compile(r"timestamp-([1-9][0-9]{0,15})\.json")


class ReleaseFolder:
    """One release of one app and channel."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def release(self) -> Path:
        return self.root / "release.json"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def timestamps(self) -> Path:
        return self.root / "timestamps"

    @property
    def files(self) -> Path:
        return self.root / "files"

    def read(self) -> Publication:
        """The documents, as they are. Raises `FolderError`: one is not there or cannot be read."""
        keys = self.read_keys()
        release = _signed(self.release)
        stamps = _numbered(self.timestamps, _TIMESTAMP, MOST_TIMESTAMPS)
        return Publication(keys, release, tuple(_signed(path) for _, path in stamps))

    def read_keys(self) -> tuple[SignedKeys, ...]:
        found = _numbered(self.keys, _KEYS, MOST_EPOCHS)
        return tuple(SignedKeys(_read(path), tuple(map(_read, signatures_of(path)))) for _, path in found)

    def highest_timestamp(self) -> int:
        """0: there is none."""
        return max((number for number, _ in _numbered(self.timestamps, _TIMESTAMP, MOST_TIMESTAMPS)), default=0)

    def check_files(self, checked: Checked) -> int:
        """Read every file that the release names; how many bytes that were.

        Raises:
            FolderError: one is not there.
            TrustError: one is not what the release says.
        """
        total = 0
        for target, file in checked.release.files():
            try:
                with self.open_file(file.name) as source:
                    check_file(source, checked.release, target, file, checked.keys)
            except TrustError as error:
                raise TrustError(error.alarm, f"files/{file.name}: {error}") from None
            total += file.size
        return total

    @contextmanager
    def open_file(self, name: str) -> Iterator[BinaryIO]:
        """A file of the release. Raises `FolderError`."""
        path = self.files / name
        if path.exists() and not path.is_file():
            raise FolderError(f"{path} is no file; the release names one.")
        try:
            with path.open("rb") as file:
                yield file
        except (FileNotFoundError, NotADirectoryError):
            raise FolderError(f"The release names {name}, which is not in {self.files}.") from None


def signatures_of(path: Path) -> list[Path]:
    """The signature files of a document with several."""
    found = sorted(path.parent.glob(f"{path.name}.*.minisig"))
    if len(found) > MOST_ROOT_SIGNATURES:
        raise FolderError(f"{path} has more than {MOST_ROOT_SIGNATURES} signatures.")
    return found


def signature_beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.minisig")


def require_folder(path: Path) -> None:
    """Raises `FolderError`: a file named `path` has no folder to be in."""
    if not path.parent.is_dir():
        raise FolderError(f"There is no folder {path.parent}; make it first, or name another one.")


def write_new(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a file that must not be there yet; on disk when this returns. `private`: mode 0600.

    Raises:
        FolderError: there is one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _name_new(fresh, path)
    except FileExistsError:
        raise FolderError(f"{path} exists already; nothing was written over it.") from None
    finally:
        fresh.unlink(missing_ok=True)
    flush_folder(path.parent)


def _name_new(fresh: Path, path: Path) -> None:
    """Give a file its name unless something has it: one step on every system."""
    if os.name == "nt":
        os.rename(fresh, path)  # refuses there what exists
        return
    try:
        os.link(fresh, path)
    except FileExistsError:
        raise
    except OSError:  # memory sticks know no links
        if path.exists():
            raise FileExistsError(path) from None
        os.rename(fresh, path)


def _numbered(folder: Path, pattern: re.Pattern[str], most: int) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    found = sorted((int(match[1]), path) for path in folder.iterdir() if (match := pattern.fullmatch(path.name)))
    if len(found) > most:
        raise FolderError(f"{folder} holds more than {most} documents.")
    return found


def _signed(path: Path) -> SignedDocument:
    return SignedDocument(_read(path), _read(signature_beside(path)))


def _read(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
        raise FolderError(f"{path} is no file; a release folder has one there.")
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_RELEASE + 1)
    except FileNotFoundError:
        raise FolderError(f"{path} is not there.") from None

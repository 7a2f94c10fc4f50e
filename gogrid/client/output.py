"""Output files of a job, stored in one folder of the user's and nowhere else.

The names come from a script that ran on somebody else's machine. Promises: nothing outside the folder is created,
changed or removed; no link is followed, neither one that lies in the folder nor one that appears meanwhile (on Linux
and macOS every step goes through an open folder; on Windows, which lacks that, each parent is first checked for being a
link); a file appears under its name only whole and with the announced hash; an existing file of that name is replaced.
"""

import contextlib
import hashlib
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from gogrid.client.errors import OutputError
from gogrid.terminal import one_line

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f\\:*?"<>|\u202a-\u202e\u2066-\u2069\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_BY_FOLDER = os.open in os.supports_dir_fd and os.rename in os.supports_dir_fd
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


def safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a relative file name that means the same plain file on every system.

    Raises:
        OutputError: it is absolute, climbs, is too long, or holds what some system gives a meaning to.
    """
    parts = tuple(name.split("/"))
    usable = len(name.encode("utf-8", "replace")) <= 1024 and len(parts) <= 32 and all(map(_plain, parts))
    if not usable:
        raise OutputError(
            f"The output file {one_line(name)[:200]!r} was not stored: its name is not a plain file name."
        )
    return parts


def _plain(part: str) -> bool:
    return (
        0 < len(part.encode("utf-8", "replace")) <= 255
        and part not in (".", "..")
        and not _FORBIDDEN.search(part)
        and not _RESERVED.fullmatch(part)
        and part[-1] not in ". "
    )


class OutputFolder:
    """Stores one job's files; refuses two names that some system takes for one."""

    def __init__(self, path: Path) -> None:
        """Creates the folder. Raises: OutputError, if it cannot be used."""
        self.path = path
        self._taken: set[str] = set()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path} cannot be used as the output folder: {error.strerror or error}.") from error

    def store(self, name: str, chunks: Iterable[bytes], *, size: int, sha256: str) -> Path:
        """Write one file; `chunks` is read only once the name was accepted.

        Raises:
            OutputError: a name, size, hash or place that is not acceptable; nothing is left of the file then.
        """
        parts = safe_parts(name)
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in self._taken:
            raise OutputError(
                f"The output file {name!r} was not stored: another one has the same name but for its case."
            )
        try:
            if _BY_FOLDER:
                self._store_by_folder(parts, chunks, size, sha256)
            else:
                self._store_by_path(parts, chunks, size, sha256)
        except OSError as error:
            raise OutputError(
                f"The output file {name!r} was not stored in {self.path}: {error.strerror or error}."
            ) from error
        self._taken.add(folded)
        return self.path.joinpath(*parts)

    def _store_by_folder(self, parts: tuple[str, ...], chunks: Iterable[bytes], size: int, sha256: str) -> None:
        with _folder_inside(self.path, parts[:-1]) as folder:
            temporary = _temporary_name()
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW
                with os.fdopen(os.open(temporary, flags, 0o666, dir_fd=folder), "wb") as file:
                    _fill(file.fileno(), parts, chunks, size, sha256)
                _refuse_folder(parts, _status(parts[-1], folder))
                os.rename(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
                raise

    def _store_by_path(self, parts: tuple[str, ...], chunks: Iterable[bytes], size: int, sha256: str) -> None:
        folder = self.path
        for part in parts[:-1]:
            folder = folder / part
            folder.mkdir(exist_ok=True)
            if folder.is_symlink() or _is_junction(folder):
                raise OutputError(f"The output file {'/'.join(parts)!r} was not stored: {folder} is a link.")
        temporary, target = folder / _temporary_name(), folder / parts[-1]
        try:
            with temporary.open("xb") as file:
                _fill(file.fileno(), parts, chunks, size, sha256)
            _refuse_folder(parts, target.lstat() if os.path.lexists(target) else None)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _folder_inside(root: Path, parts: tuple[str, ...]) -> Iterator[int]:
    """A descriptor of the folder below `root`, made where missing, reached without following a link."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=folder)
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _fill(descriptor: int, parts: tuple[str, ...], chunks: Iterable[bytes], size: int, sha256: str) -> None:
    digest, count = hashlib.sha256(), 0
    for chunk in chunks:
        count += len(chunk)
        if count > size:
            break
        digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]
    if count != size or digest.hexdigest() != sha256:
        raise OutputError(f"The output file {'/'.join(parts)!r} was not stored: it did not arrive as announced.")


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _refuse_folder(parts: tuple[str, ...], status: os.stat_result | None) -> None:
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise OutputError(f"The output file {'/'.join(parts)!r} was not stored: a folder of that name is there.")


def _is_junction(path: Path) -> bool:
    attributes: int = getattr(path.lstat(), "st_file_attributes", 0)
    return bool(attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT)


def _temporary_name() -> str:
    return f".gogrid-{secrets.token_hex(8)}"

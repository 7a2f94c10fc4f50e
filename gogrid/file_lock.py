"""A lock between processes: one holder for each file; let go by the system however the holder ends."""

import errno
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

from gogrid.errors import GoGridError


class FileLockError(GoGridError):
    """The file cannot be locked."""


class LockHeldError(FileLockError):
    """Another process, or another `FileLock` of this one, holds it."""


class FileLock:
    """Use in a `with`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> "FileLock":
        """Raises `LockHeldError`, or `FileLockError` if the file cannot be made or locked."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            where = f"The folder {self._path.parent} cannot be made ({error.strerror})"
            raise FileLockError(f"{where}; choose one in a place where you may write.") from error
        try:
            file = self._path.open("a+", encoding="ascii")
        except OSError as error:
            raise FileLockError(f"{self._path} cannot be opened: {error.strerror}.") from error
        try:
            _lock(file)
        except OSError as error:
            file.close()
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise FileLockError(f"{self._path} cannot be locked: {error.strerror}.") from error
            raise LockHeldError(f"Another process holds {self._path}.") from error
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:  # a file that is open can be locked, unless it is; its number tells no more
            raise BlockingIOError(errno.EAGAIN, "it is locked") from error
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

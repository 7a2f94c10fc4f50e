"""Small files that are whole at any moment, folders that outlive a power cut, and one lock between processes.

Nothing of GoGrid's other parts is used here (`updates` must work alone).
"""

import errno
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

Step = Callable[[str], None]
"""Told the name of what has just been done; for logs, and for tests of what a power cut right there leaves."""

_IN_THE_WAY_S, _LOOK_AGAIN_S = 1.0, 0.02


def unnoticed(_label: str) -> None:
    """A `Step` that tells nobody."""


def write_whole(path: Path, data: bytes, step: Step = unnoticed) -> None:
    """Replace a file of this user's (0600), on the disk when this returns. Raises `OSError`; then it is as it was.

    Steps: `NAME written`, `NAME replaced`.
    """
    make_folder(path.parent)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        step(f"{path.name} written")
        rename(fresh, path)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    step(f"{path.name} replaced")


def rename(source: Path, target: Path) -> None:
    """Within one folder, and on the disk; a file at `target` is replaced.

    Windows refuses while somebody, such as a virus scanner, has one of them open for a moment.
    """
    deadline = time.monotonic() + (_IN_THE_WAY_S if sys.platform == "win32" else 0.0)
    while True:
        try:
            source.replace(target)
            break
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_LOOK_AGAIN_S)
    flush_folder(target.parent)


def make_folder(path: Path) -> None:
    """For this user only; fine if it is there."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        flush_folder(path.parent)


def own_folder(path: Path) -> None:
    """Like `make_folder`, for a folder that is ours alone: what else has its name is taken away."""
    if not path.is_dir():
        clear(path)
    make_folder(path)


def clear(path: Path) -> None:
    """Take away whatever has this name, a link itself and not what it leads to; fine if nothing has.

    Raises `OSError`.
    """
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(kind):
        shutil.rmtree(path)
    else:
        path.unlink()


def problem_of(error: OSError) -> str:
    """In words, with the name of what is in the way."""
    words = error.strerror or str(error)
    return f"{words} ({error.filename})" if error.filename else words


def flush_folder(folder: Path) -> None:
    """Make the names in it survive a power cut."""
    if sys.platform != "win32":  # NTFS keeps its own journal of names, and folders cannot be flushed
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def only_one(path: Path, patience_s: float = 0.0) -> Iterator[bool]:
    """Whether this process now holds the lock; let go at the end, by a crash, and when another program takes its place.

    Args:
        patience_s: how long to wait for its holder.

    Raises `OSError` if the file cannot be made.
    """
    make_folder(path.parent)
    if path.is_dir():
        clear(path)  # no lock of ours
    deadline = time.monotonic() + patience_s
    with path.open("a+b") as file:
        while not (held := _lock(file)) and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_S)
        yield held


def _lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        raise
    return True

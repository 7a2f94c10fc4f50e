"""Files that are whole or not there, and on disk when the call returns.

A new file is written under another name, flushed, renamed, and then its folder is flushed: a power cut at any moment
leaves the old file, or none, or the new one. Private means 0600; on Windows, a list that lets in nobody else.
"""

import os
import sys
import time
from pathlib import Path

_IN_THE_WAY_S, _LOOK_AGAIN_S = 1.0, 0.02


def write_whole(path: Path, data: bytes, *, private: bool, replace: bool) -> None:
    """Write a file; `private`: only its owner may read it (0600).

    Raises:
        FileExistsError: there is one and `replace` is false.
        OSError: it cannot be written; what was there stays.
    """
    if not replace and path.exists():
        raise FileExistsError(f"{path} exists already")
    make_folder(path.parent)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    handle = _new_file(fresh, private=private)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, for this user only (0700); fine if it is there."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    if sys.platform != "win32":  # NTFS keeps its own journal of names, and folders cannot be flushed
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _new_file(path: Path, *, private: bool) -> int:
    if private and sys.platform == "win32":
        from gogrid.windows.private_file import create_private

        return create_private(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)


def _replace(fresh: Path, path: Path) -> None:
    """Windows refuses while somebody has the old one open, as a reader or a virus scanner does for a moment."""
    deadline = time.monotonic() + (_IN_THE_WAY_S if sys.platform == "win32" else 0.0)
    while True:
        try:
            return os.replace(fresh, path)
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_LOOK_AGAIN_S)

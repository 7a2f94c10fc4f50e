"""Files that are whole or not there, and on disk when the call returns.

A new file is written under another name, flushed, renamed, and then its folder is flushed: a power cut at any moment
leaves the old file, or none, or the new one.
"""

import os
import sys
from pathlib import Path


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
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
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
    if sys.platform == "win32":
        return  # NTFS keeps its own journal of names, and folders cannot be flushed
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""How much of a disk may still be given to new work.

Promises: what is refused here is refused while there is still room to finish what was accepted before. Refusing at the
last byte would leave a job that has run without a place for its end.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from coordinator.errors import StorageFullError
from gogrid.sizes import format_size

_MOST_KEPT = 64 << 20
_PART_KEPT = 16
"""A small disk keeps this part of itself, if that is less."""


def disk_space(folder: Path) -> tuple[int, int]:
    """Bytes of the disk below `folder`: in all, and free for this user."""
    usage = shutil.disk_usage(folder)
    return usage.total, usage.free


class Room:
    """The room of the disk that holds `folder`; `space` is how its size and free bytes are found out."""

    def __init__(self, folder: Path, space: Callable[[Path], tuple[int, int]] = disk_space) -> None:
        self._folder = folder
        self._space = space

    def shortage(self, size: int = 0) -> str:
        """Why `size` more bytes of new work cannot be taken, in a sentence; empty if they can."""
        try:
            total, free = self._space(self._folder)
        except OSError as error:
            return f"The coordinator's disk cannot be asked for its room ({error.strerror or error}); try again later."
        kept = min(_MOST_KEPT, total // _PART_KEPT)
        if free - size >= kept:
            return ""
        return (
            f"The coordinator's disk is nearly full ({format_size(max(0, free))} free, {format_size(kept)} of it kept "
            "to finish what was accepted): free some space and try again."
        )

    def require(self, size: int = 0) -> None:
        """Raises `StorageFullError` if there is no room for `size` more bytes of new work."""
        shortage = self.shortage(size)
        if shortage:
            raise StorageFullError(shortage)

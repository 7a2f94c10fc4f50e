"""Reads files in whose place anybody may have put something else: a pipe or a file without end holds nobody up."""

import errno
import os
import stat
from pathlib import Path


def read_regular(path: Path, max_size: int) -> bytes:
    """All bytes of a regular file, `max_size` at most.

    Raises:
        OSError: it cannot be read, is longer, or is a folder, a pipe or a device.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOCTTY", 0)
    with open(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        content = file.read(max_size + 1)
    if len(content) > max_size:
        raise OSError(errno.EFBIG, f"it is longer than {max_size} bytes", str(path))
    return content

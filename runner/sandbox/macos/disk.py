"""What a job's folders hold on disk, and that they go, whatever the job did to their modes and flags. Follows no link.

Needs the standard library only: the guard runs without packages.
"""

import os
import shutil
import stat
from collections.abc import Iterable

TOO_MANY = 1 << 62
"""What `used_bytes` gives for a tree with more entries than it may have."""
_REMOVE_TRIES = 3


def used_bytes(folders: Iterable[str], most_entries: int) -> int:
    """What lies below, in bytes of disk; `TOO_MANY` if there are more than `most_entries` files and folders."""
    total = entries = 0
    waiting = list(folders)
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    if entries > most_entries:
                        return TOO_MANY
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
    return total


def remove(root: str) -> bool:
    """Whether the tree is gone."""
    for _ in range(_REMOVE_TRIES):
        if not os.path.lexists(root):
            return True
        _unlock(root)
        for folder, inner, names in os.walk(root):
            for name in (*inner, *names):
                _unlock(os.path.join(folder, name))
        shutil.rmtree(root, ignore_errors=True)
    return not os.path.lexists(root)


def _unlock(path: str) -> None:
    """Take away what keeps even its owner from removing an entry: macOS's immutable flag, and a folder's mode."""
    try:
        if hasattr(os, "lchflags"):
            os.lchflags(path, 0)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.chmod(path, 0o700)
    except OSError:
        return

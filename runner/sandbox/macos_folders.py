"""The folders of one job on a Mac, on the host's disk: made before it, measured while it runs, removed after it.

Promises: nobody but this user can look into them; inputs are copies, because a hard link's path is whatever the kernel
names first, and so would be judged by the wrong rule; whatever a job did to modes and flags, its folders go. No link
is followed.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from runner.sandbox.base import Mount
from runner.sandbox.macos_arguments import JobFolders
from sandbox_profiles import linux, macos

PREFIX = "gogrid-job-"
TOO_MANY = 1 << 62
"""What `used_bytes` gives for a tree with more entries than it may have."""
_REMOVE_TRIES = 3


def make_folders(base: Path) -> JobFolders:
    """A new set below `base`. Raises OSError."""
    root = os.path.realpath(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base))
    folders = JobFolders(
        root=root,
        inputs=root + linux.JOB_IN,
        outputs=root + linux.JOB_OUT,
        temporary=root + macos.TEMPORARY,
        models=root + linux.MODELS,
    )
    for path in (folders.inputs, folders.outputs, folders.temporary, folders.models):
        os.makedirs(path, mode=0o700)
    return folders


def copy_inputs(folders: JobFolders, mounts: Iterable[Mount]) -> None:
    """Put each mount below `/job/in` where the job looks for it. Raises OSError."""
    for mount in mounts:
        if mount.inside.startswith(f"{linux.JOB_IN}/"):
            target = folders.root + mount.inside
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            if mount.host.is_dir():
                shutil.copytree(mount.host, target)
            else:
                shutil.copyfile(mount.host, target)


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


def remove_stale(base: Path) -> None:
    """Remove the folders of workers that no longer run."""
    for root in base.glob(f"{PREFIX}*-*"):
        maker = root.name.removeprefix(PREFIX).partition("-")[0]
        if maker.isdecimal() and int(maker) != os.getpid() and not _lives(int(maker)):
            remove(str(root))


def _unlock(path: str) -> None:
    """Take away what keeps even its owner from removing an entry: macOS's immutable flag, and a folder's mode."""
    try:
        if hasattr(os, "lchflags"):
            os.lchflags(path, 0)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.chmod(path, 0o700)
    except OSError:
        return


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

"""The folders of one job on a Mac, on the host's disk, which the guard removes when the job ends.

Promises: nobody but this user can look into them; inputs are copies, because a hard link's path is whatever the kernel
names first, and so would be judged by the wrong rule.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from runner.sandbox.base import Mount
from runner.sandbox.macos.arguments import JobFolders
from runner.sandbox.macos.disk import remove
from sandbox_profiles import linux, macos

PREFIX = "gogrid-job-"


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


def remove_stale(base: Path) -> None:
    """Remove the folders of workers that no longer run."""
    for root in base.glob(f"{PREFIX}*-*"):
        maker = root.name.removeprefix(PREFIX).partition("-")[0]
        if maker.isdecimal() and int(maker) != os.getpid() and not _lives(int(maker)):
            remove(str(root))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

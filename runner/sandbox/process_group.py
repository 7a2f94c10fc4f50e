"""A pids cgroup for each sandbox: the process limit that holds when the runner is root.

The kernel does not count `RLIMIT_NPROC` for the machine's root user, not even inside a user namespace, so a fork bomb
in a sandbox that root started needs this. Works with cgroup v1 and with a v2 root that hands out the pids controller.
Where neither can be written, there is none and the self-test reports the process limit as missing.
"""

import os
from pathlib import Path

_PREFIX = "gogrid-"


class ProcessGroups:
    """Makes and removes the groups below one cgroup folder."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._count = 0

    def create(self, processes: int) -> "ProcessGroup":
        """A new group. Raises OSError if the kernel refuses."""
        self._count += 1
        folder = self._parent / f"{_PREFIX}{os.getpid()}-{self._count}"
        folder.mkdir()
        try:
            (folder / "pids.max").write_text(str(processes))
            return ProcessGroup(folder, os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            folder.rmdir()
            raise

    def remove_stale(self) -> None:
        """Remove groups that a killed runner left.

        One that still has a process is not ours to remove, and neither is one of a runner that lives beside this one:
        it may have made it a moment ago and be about to put a sandbox in.
        """
        for folder in self._parent.glob(f"{_PREFIX}*"):
            maker = folder.name.removeprefix(_PREFIX).partition("-")[0]
            if not (maker.isdecimal() and int(maker) != os.getpid() and Path("/proc", maker).exists()):
                ProcessGroup.try_remove(folder)


class ProcessGroup:
    def __init__(self, folder: Path, members: int) -> None:
        self._folder = folder
        self._members = members

    def join(self) -> None:
        """Put the calling process in; made to run between fork and exec, so it does one write and nothing else."""
        os.write(self._members, b"0")

    def close_members(self) -> None:
        os.close(self._members)

    def remove(self) -> bool:
        """True once the group is gone; false while a process of it is still dying."""
        return self.try_remove(self._folder)

    @staticmethod
    def try_remove(folder: Path) -> bool:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


def find_process_groups(mounted: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Path | None:
    """The folder below which this process may make pids groups, or None."""
    try:
        memberships = own.read_text().splitlines()
    except OSError:
        return None
    for line in memberships:
        _, controllers, path = line.split(":", 2)
        folder = mounted / "pids" / path.lstrip("/")
        if "pids" in controllers.split(",") and os.access(folder, os.W_OK):
            return folder
    subtree = mounted / "cgroup.subtree_control"
    if subtree.is_file() and "pids" in subtree.read_text().split() and os.access(mounted, os.W_OK):
        return mounted
    return None

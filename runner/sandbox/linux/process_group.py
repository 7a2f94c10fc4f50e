"""A control group for each sandbox: what holds for all of its processes together.

Promises: every process of a sandbox is in its group, because the first one is put in before it has made another; the
group's limits are the kernel's to enforce; `killed_for_memory` tells the kernel's kill for the group's limit from any
other, and `held_back` the kernel's quota from a busy machine; a group goes when its sandbox has ended, and one that a
killed runner left goes at the next start.

Works on cgroup v1, where each controller has a tree of its own, and on v2. `group_finder` says where groups can be
made.
"""

import os
import secrets
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.sandbox.linux.group_counts import count
from runner.sandbox.linux.group_settings import GroupLimits, Version, settings

_PREFIX = "gogrid-"


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A folder below which groups can be made, and what they can limit there."""

    version: Version
    folder: Path
    controllers: frozenset[str]


class ProcessGroups:
    """Makes and removes the groups of this process's sandboxes."""

    def __init__(self, hierarchies: Sequence[Hierarchy]) -> None:
        self.hierarchies = tuple(hierarchies)

    def create(self) -> "ProcessGroup":
        """A new, empty group without limits. Raises OSError if the kernel refuses."""
        name = f"{_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
        made: list[tuple[Hierarchy, Path]] = []
        try:
            for hierarchy in self.hierarchies:
                folder = hierarchy.folder / name
                folder.mkdir()
                made.append((hierarchy, folder))
        except OSError:
            for _, folder in made:
                folder.rmdir()
            raise
        return ProcessGroup(made)

    def remove_stale(self) -> None:
        """Remove groups that a killed runner left, with what still lives in them.

        Those of a runner that lives beside this one are not ours.
        """
        for hierarchy in self.hierarchies:
            for folder in hierarchy.folder.glob(f"{_PREFIX}*-*"):
                maker = folder.name.removeprefix(_PREFIX).partition("-")[0]
                if maker.isdecimal() and int(maker) != os.getpid() and not Path("/proc", maker).exists():
                    _kill_all(hierarchy.version, folder)
                    _try_remove(folder)


class ProcessGroup:
    def __init__(self, parts: Sequence[tuple[Hierarchy, Path]]) -> None:
        """`parts`: its folder in each hierarchy."""
        self._parts = tuple(parts)

    def limit(self, limits: GroupLimits) -> None:
        """Let these limits hold from now on. Raises OSError if the kernel refuses one that is needed."""
        for hierarchy, folder in self._parts:
            for controller in sorted(hierarchy.controllers):
                for setting in settings(hierarchy.version, controller, limits):
                    try:
                        _write(folder / setting.file, setting.value)
                    except OSError:
                        if setting.needed:
                            raise

    def add(self, pid: int) -> None:
        """Put a process in, and what it will start. May take 20 ms. Raises OSError: there is no such process."""
        for _, folder in self._parts:
            _write(folder / "cgroup.procs", str(pid))

    def kill(self) -> None:
        """Kill every process in it.

        The first one takes the others with it, unless it dies while bubblewrap has only begun to make the namespaces:
        what it had started then waits for it for ever.
        """
        for hierarchy, folder in self._parts:
            _kill_all(hierarchy.version, folder)

    @property
    def killed_for_memory(self) -> bool:
        """Whether the kernel killed a process of it because all together needed too much."""
        return any(
            count(_read(folder / ("memory.events" if hierarchy.version == 2 else "memory.oom_control")), "oom_kill")
            for hierarchy, folder in self._parts
            if "memory" in hierarchy.controllers
        )

    @property
    def held_back(self) -> bool | None:
        """Whether the kernel made its processes wait because all together had had their processor quota.

        Known when the period is over in which they had it. Waiting for busy processors does not count. None:
        nothing here can have a quota.
        """
        for hierarchy, folder in self._parts:
            if "cpu" in hierarchy.controllers:
                return count(_read(folder / "cpu.stat"), "nr_throttled") > 0
        return None

    def remove(self) -> bool:
        """True once the group is gone; false while a process of it is still dying."""
        return all([_try_remove(folder) for _, folder in self._parts])


def _kill_all(version: Version, folder: Path) -> None:
    """At once, also what is being forked, where the kernel can do that; else one by one."""
    try:
        if version == 2:
            _write(folder / "cgroup.kill", "1")
            return
    except OSError:
        pass  # older than Linux 5.14, or gone
    for pid in _members(folder):
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            if pid in _members(folder):  # and so the number is still its own
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)


def _members(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _read(file: Path) -> str:
    """Nothing where there is nothing to read: the kernel does not count this, or the group is gone."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _write(file: Path, value: str) -> None:
    opened = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(opened, value.encode())
    finally:
        os.close(opened)


def _try_remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True

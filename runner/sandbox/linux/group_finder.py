"""Where this process may make control groups, found by trying, not by asking for a version.

Version 1 gives each controller a tree of its own; version 2 has one tree, in which a group may hold either processes or
groups with controllers. There the folder must have been handed to us: then this process, and whatever else lives in
it, moves into a group beside the future ones. Nothing of a folder that was not handed to us is touched.
"""

import errno
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from runner.sandbox.linux.group_settings import GroupLimits
from runner.sandbox.linux.process_group import Hierarchy, ProcessGroups

WANTED = ("cpu", "memory", "pids")
OWN_SCOPE = "gogrid-worker-"
"""How the units begin that `systemd_scope` asks for; they are handed to us whole."""
_LEAF = "gogrid-runner"
_TRIAL = GroupLimits(processes=8, memory_bytes=64 << 20, cpu_cores=1.0, cpu_weight=50)
_MOVES = 8
"""Rounds of moving processes out of a folder in which new ones may appear meanwhile."""


@dataclass(frozen=True, slots=True)
class Place:
    """This process's own folder in one tree."""

    version: int
    folder: Path
    controllers: frozenset[str]
    """Of version 1; version 2 says them in a file."""
    at_root: bool
    """It is the root of what this process can see of the tree."""


def find_hierarchies(mounts: str, membership: str) -> tuple[Hierarchy, ...]:
    """Every tree in which groups can be made and limited, each controller once; version 1 first.

    Args:
        mounts: `/proc/self/mountinfo`.
        membership: `/proc/self/cgroup`.
    """
    found: list[Hierarchy] = []
    for place in places(mounts, membership):
        taken = frozenset[str]().union(*(hierarchy.controllers for hierarchy in found))
        hierarchy = _first(place, taken) if place.version == 1 else _second(place, taken)
        if hierarchy is not None and (works := _that_work(hierarchy)):
            found.append(replace(hierarchy, controllers=works))
    return tuple(found)


def places(mounts: str, membership: str) -> tuple[Place, ...]:
    """Where this process is in each tree that is mounted; version 1 first. Pure."""
    own: dict[frozenset[str], str] = {}
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        own[frozenset(controllers.split(",")) if controllers else frozenset()] = path
    found: dict[frozenset[str], Place] = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, mounted = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        known = options.split(",")
        tree = (
            next((names for names in own if names and names <= set(known)), None) if kind == "cgroup" else frozenset()
        )
        if tree is None or tree not in own or tree in found:
            continue
        inside = _below(own[tree], root)
        if inside is not None:
            version = 1 if kind == "cgroup" else 2
            found[tree] = Place(version, Path(mounted, inside), tree & set(WANTED), at_root=inside == "")
    return tuple(sorted(found.values(), key=lambda place: (place.version, place.folder)))


def _below(path: str, root: str) -> str | None:
    """`path` as seen from a mount of `root`; None: it cannot be seen from there."""
    if ".." in path.split("/"):
        return None
    if root == "/":
        return path.lstrip("/")
    if path == root or path.startswith(root + "/"):
        return path[len(root) :].lstrip("/")
    return "" if path == "/" else None


def _first(place: Place, taken: frozenset[str]) -> Hierarchy | None:
    wanted = place.controllers - taken
    if not wanted or not os.access(place.folder, os.W_OK):
        return None
    return Hierarchy(1, place.folder, wanted)


def _second(place: Place, taken: frozenset[str]) -> Hierarchy | None:
    folder = place.folder.parent if place.folder.name == _LEAF else place.folder
    if not os.access(folder, os.W_OK) or not (_handed_to_us(place, folder) or _is_empty(folder)):
        return None
    try:
        offered = set((folder / "cgroup.controllers").read_text().split())
        if _is_inner(folder):
            _move_aside(folder)
    except OSError:
        return None
    enabled = frozenset(name for name in WANTED if name in offered - taken and _enable(folder, name))
    return Hierarchy(2, folder, enabled) if enabled else None


def _is_inner(folder: Path) -> bool:
    """All but the root of the whole tree: it alone may hold processes beside groups with controllers."""
    return (folder / "cgroup.type").exists()


def _is_empty(folder: Path) -> bool:
    try:
        return not (folder / "cgroup.procs").read_text()
    except OSError:
        return False


def _enable(folder: Path, controller: str) -> bool:
    """Let groups below `folder` have this controller."""
    switch = folder / "cgroup.subtree_control"
    try:
        if controller not in switch.read_text().split():
            switch.write_text(f"+{controller}")
    except OSError:
        return False
    return True


def _move_aside(folder: Path) -> None:
    """Every process of it into a group below. Raises OSError: one cannot be moved."""
    leaf = folder / _LEAF
    for _ in range(_MOVES):
        inside = (folder / "cgroup.procs").read_text().split()
        if not inside:
            return
        leaf.mkdir(exist_ok=True)
        for pid in inside:
            with suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)
    raise OSError(errno.EBUSY, "new processes keep appearing", str(folder))


def _handed_to_us(place: Place, folder: Path) -> bool:
    """Whether this process may rearrange the folder: systemd marked it so, or it is all that a container has."""
    if place.at_root or folder.name.startswith(OWN_SCOPE) or place.folder.name == _LEAF:
        return True
    for attribute in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            if os.getxattr(folder, attribute) == b"1":
                return True
    return False


def _that_work(hierarchy: Hierarchy) -> frozenset[str]:
    """The controllers with which a group can be made and limited there."""
    return frozenset(
        name for name in hierarchy.controllers if _works(replace(hierarchy, controllers=frozenset({name})))
    )


def _works(hierarchy: Hierarchy) -> bool:
    try:
        group = ProcessGroups((hierarchy,)).create()
    except OSError:
        return False
    try:
        group.limit(_TRIAL)
    except OSError:
        return False
    finally:
        group.remove()
    return True

"""The control groups of this machine, asked for where there are none yet; see `group_finder` and `systemd_scope`."""

import os
from pathlib import Path

from runner.sandbox.linux.group_finder import find_hierarchies
from runner.sandbox.linux.process_group import Hierarchy, ProcessGroups
from runner.sandbox.linux.systemd_scope import enter_scope


async def process_groups() -> ProcessGroups | None:
    """Groups with whatever can be limited here, memory above all; None: nothing can."""
    found = _here()
    if not any("memory" in hierarchy.controllers for hierarchy in found) and await enter_scope(os.environ):
        found = _here()
    if not found:
        return None
    groups = ProcessGroups(found)
    groups.remove_stale()
    return groups


def _here() -> tuple[Hierarchy, ...]:
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        membership = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return find_hierarchies(mounts, membership)

"""What a job on a Mac may use altogether, held by looking: a core that is given looks and says whether to end it.

Promises: follows the job's processes also when they leave its group or lose their parent, as long as one look saw
where they came from; a reused process id is not taken for the old process; two looks over a limit in a row end the job.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from runner.sandbox.memory_watch import Sample, over


class Ending(StrEnum):
    """Why the guard ended a job."""

    MEMORY = "memory"
    PROCESSES = "processes"
    ROOM = "room"


@dataclass(frozen=True, slots=True)
class Caps:
    """-1: no limit."""

    memory_bytes: int
    processes: int
    room_bytes: int

    def encode(self) -> str:
        return f"{self.memory_bytes},{self.processes},{self.room_bytes}"


def decode_caps(text: str) -> Caps:
    """Raises ValueError on anything that `encode` did not write."""
    memory_bytes, processes, room_bytes = map(int, text.split(","))
    return Caps(memory_bytes, processes, room_bytes)


class Process(NamedTuple):
    """One line of the system's process table."""

    pid: int
    parent: int
    group: int
    started: float
    """With its id the name of a process: ids are used again."""


class Kin:
    """The processes of one job."""

    def __init__(self, root: int) -> None:
        """Args: `root` is the job's first process, and its group."""
        self._root = root
        self._known: dict[int, float] = {}

    def look(self, table: Iterable[Process]) -> frozenset[int]:
        """Who belongs to the job now: its group, what was seen belonging before, and all that descend from either."""
        processes = {process.pid: process for process in table}
        members = {
            pid
            for pid, process in processes.items()
            if self._known.get(pid) == process.started or process.group == self._root
        }
        grown = True
        while grown:
            more = {pid for pid, process in processes.items() if process.parent in members} - members
            members |= more
            grown = bool(more)
        self._known = {pid: processes[pid].started for pid in members}
        return frozenset(members)


class Watch:
    """The looks at one job, and the verdict."""

    def __init__(self, caps: Caps) -> None:
        self._looks = [(Ending.MEMORY, caps.memory_bytes), (Ending.PROCESSES, caps.processes)]
        self._looks.append((Ending.ROOM, caps.room_bytes))
        self._samples: dict[Ending, list[Sample]] = {ending: [] for ending in Ending}

    def seen(self, used: dict[Ending, int], now: float) -> Ending | None:
        """Take note of one look, bytes or processes by kind; why to end the job, or None."""
        for ending, cap in self._looks:
            if cap < 0 or ending not in used:
                continue
            samples = self._samples[ending]
            samples[:] = [*samples[-1:], Sample(now, used[ending])]
            if over(samples, cap, now):
                return ending
        return None

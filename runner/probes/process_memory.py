"""How much main memory a sandbox's processes hold, asked from outside.

Promises: never raises, a process that is gone holds nothing. What counts is what cannot be dropped: anonymous and
shared memory and what of it was swapped out; pages of files (a model's mapped weights, libraries) are the system's
cache. `bound` is cheap and counts memory that processes share once for each of them; `exact` counts it once, and costs
milliseconds for each gigabyte.
"""

import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

_STATUS = re.compile(rb"^(?:RssAnon|RssShmem|VmSwap):\s+(\d+) kB", re.MULTILINE)
_ROLLUP = re.compile(rb"^(?:Pss_Anon|Pss_Shmem|SwapPss):\s+(\d+) kB", re.MULTILINE)
_PROC = Path("/proc")
_AT_ONCE = 1 << 14


class ProcessMemory(Protocol):
    def tree(self, root: int) -> frozenset[int]:
        """The process and everything below it."""

    def bound(self, pids: Iterable[int]) -> int:
        """Bytes that they hold at most."""

    def exact(self, pids: Iterable[int]) -> int:
        """Bytes that they hold together."""


class Footprints(Protocol):
    def footprint(self, pid: int) -> int:
        """Bytes; 0 if the process is gone."""


class LinuxMemory:
    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc

    def tree(self, root: int) -> frozenset[int]:
        found, waiting = {root}, [root]
        while waiting:
            for child in self._children(waiting.pop()):
                if child not in found:
                    found.add(child)
                    waiting.append(child)
        return frozenset(found)

    def bound(self, pids: Iterable[int]) -> int:
        return sum(_kilobytes(_STATUS, _read(f"{self._proc}/{pid}/status")) for pid in pids)

    def exact(self, pids: Iterable[int]) -> int:
        total = 0
        for pid in pids:
            rollup = _read(f"{self._proc}/{pid}/smaps_rollup")
            total += _kilobytes(_ROLLUP, rollup) if rollup else self.bound((pid,))
        return total

    def _children(self, pid: int) -> list[int]:
        """From every thread, because each has its own."""
        threads = f"{self._proc}/{pid}/task"
        with suppress(OSError):
            return [int(word) for one in os.listdir(threads) for word in _read(f"{threads}/{one}/children").split()]
        return []


class PortableMemory:
    """Through psutil, where there is no /proc of Linux's kind; `exact` is `bound`."""

    def tree(self, root: int) -> frozenset[int]:
        with suppress(psutil.Error):
            return frozenset({root, *(child.pid for child in psutil.Process(root).children(recursive=True))})
        return frozenset({root})

    def bound(self, pids: Iterable[int]) -> int:
        total = 0
        for pid in pids:
            with suppress(psutil.Error):
                total += psutil.Process(pid).memory_info().rss
        return total

    def exact(self, pids: Iterable[int]) -> int:
        return self.bound(pids)


class FootprintMemory(PortableMemory):
    """macOS's own count, which holds compressed pages and what Metal allocated; the resident size holds neither."""

    def __init__(self, table: Footprints) -> None:
        self._table = table

    def bound(self, pids: Iterable[int]) -> int:
        return sum(self._table.footprint(pid) for pid in pids)


def process_memory() -> ProcessMemory:
    """For this machine."""
    if sys.platform == "linux" and (_PROC / f"self/task/{os.getpid()}/children").exists():
        return LinuxMemory()
    if sys.platform == "darwin":
        from runner.sandbox.macos.processes import LibProc

        return FootprintMemory(LibProc())
    return PortableMemory()


def _kilobytes(pattern: re.Pattern[bytes], text: bytes) -> int:
    return sum(int(number) for number in pattern.findall(text)) * 1024


def _read(path: str) -> bytes:
    """Empty if it is not there any more or may not be read. No file object: that costs more than the reading."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return b"".join(iter(lambda: os.read(opened, _AT_ONCE), b""))
        finally:
            os.close(opened)
    except OSError:
        return b""

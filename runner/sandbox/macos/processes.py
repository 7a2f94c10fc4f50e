"""macOS's process table and each process's memory footprint, by libproc through ctypes.

Promises: never raises for a process that is gone or belongs to another user; it is left out. The footprint is what
Activity Monitor shows as memory: it counts compressed pages and what Metal allocates, which the resident size does not.
"""

import ctypes
import ctypes.util
import errno
import os
from typing import Protocol

from runner.sandbox.macos.watch import Process

_SPARE = 64
"""Room for processes that start between the count and the list."""
_PIDTBSDINFO = 3
_RUSAGE_INFO_V0 = 0


class ProcessTable(Protocol):
    def processes(self) -> list[Process]: ...

    def footprint(self, pid: int) -> int:
        """Bytes; 0 if the process is gone."""


class BsdInfo(ctypes.Structure):
    """`struct proc_bsdinfo` of <sys/proc_info.h>, 136 bytes."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("flags", "status", "xstatus", "pid", "ppid", "uid", "gid")),
        *((name, ctypes.c_uint32) for name in ("ruid", "rgid", "svuid", "svgid", "reserved")),
        ("comm", ctypes.c_char * 16),
        ("name", ctypes.c_char * 32),
        *((name, ctypes.c_uint32) for name in ("files", "pgid", "pjobc", "tdev", "tpgid")),
        ("nice", ctypes.c_int32),
        ("start_seconds", ctypes.c_uint64),
        ("start_microseconds", ctypes.c_uint64),
    )
    ppid: int
    pgid: int
    start_seconds: int
    start_microseconds: int


class RusageV0(ctypes.Structure):
    """`struct rusage_info_v0` of <sys/resource.h>, 96 bytes."""

    _fields_ = (
        ("uuid", ctypes.c_uint8 * 16),
        *((name, ctypes.c_uint64) for name in ("user_time", "system_time", "idle_wakeups", "interrupt_wakeups")),
        *((name, ctypes.c_uint64) for name in ("pageins", "wired", "resident", "footprint", "start", "exit")),
    )
    footprint: int


class LibProc:
    """The real one. Raises OSError where there is no libproc, which is everywhere but on a Mac."""

    def __init__(self) -> None:
        path = ctypes.util.find_library("proc")
        if path is None:
            raise OSError(errno.ENOSYS, "there is no libproc on this system")
        self._libproc = ctypes.CDLL(path, use_errno=True)

    def processes(self) -> list[Process]:
        found = (self._process(pid) for pid in self._pids())
        return [process for process in found if process is not None]

    def footprint(self, pid: int) -> int:
        usage = RusageV0()
        refused = self._libproc.proc_pid_rusage(ctypes.c_int(pid), _RUSAGE_INFO_V0, ctypes.byref(usage))
        return 0 if refused else usage.footprint

    def _pids(self) -> list[int]:
        count = int(self._libproc.proc_listallpids(None, 0)) + _SPARE
        pids = (ctypes.c_int * count)()
        filled = int(self._libproc.proc_listallpids(pids, ctypes.sizeof(pids)))
        if filled < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return [pid for pid in pids[:filled] if pid > 0]

    def _process(self, pid: int) -> Process | None:
        info = BsdInfo()
        size = ctypes.sizeof(info)
        got = self._libproc.proc_pidinfo(
            ctypes.c_int(pid), _PIDTBSDINFO, ctypes.c_uint64(0), ctypes.byref(info), ctypes.c_int(size)
        )
        if got != size:
            return None
        return Process(pid, info.ppid, info.pgid, info.start_seconds + info.start_microseconds / 1e6)

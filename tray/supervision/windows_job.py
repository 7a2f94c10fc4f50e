"""A Job Object that ends the programs we start when we are gone, however that happens.

Promises: its only handle is in this process, so Windows kills what is in the job when this process ends. What those
programs start themselves is not in it: a sandbox's own Job Object may limit the user interface only outside of any
other, and it ends with the runner, which holds its handle. Elsewhere nothing is done: children watch their parent.
"""

import ctypes
import sys
from functools import cache

from gogrid.windows.calls import BOOL, DWORD, HANDLE, POINTER, TEXT, Calls, ExtendedLimits, Handle

_KILL_ON_JOB_CLOSE, _SILENT_BREAKAWAY_OK = 0x2000, 0x1000
_EXTENDED_LIMITS = 9
_TERMINATE, _SET_QUOTA = 0x1, 0x100

NO_CONSOLE = 0x08000000
"""For `creationflags`: Windows' CREATE_NO_WINDOW."""

_calls = Calls(
    {
        "CreateJobObjectW": ("kernel32", HANDLE, (POINTER, TEXT)),
        "SetInformationJobObject": ("kernel32", BOOL, (HANDLE, ctypes.c_int, POINTER, DWORD)),
        "AssignProcessToJobObject": ("kernel32", BOOL, (HANDLE, HANDLE)),
        "OpenProcess": ("kernel32", HANDLE, (DWORD, BOOL, DWORD)),
    }
)


def hold_child(pid: int) -> str:
    """Let our end be the end of this child, too; why it cannot be, in words, else nothing."""
    if sys.platform == "win32":
        try:
            _job().hold(pid)
        except OSError as error:
            return str(error)
    return ""


@cache
def _job() -> "ChildrenJob":
    return ChildrenJob()


class ChildrenJob:
    def __init__(self) -> None:
        """Raises OSError."""
        self._handle = Handle(_calls.call("CreateJobObjectW", None, None))
        limits = ExtendedLimits()
        limits.basic.flags = _KILL_ON_JOB_CLOSE | _SILENT_BREAKAWAY_OK
        _calls.call(
            "SetInformationJobObject",
            self._handle.value,
            _EXTENDED_LIMITS,
            ctypes.byref(limits),
            ctypes.sizeof(limits),
        )

    def hold(self, pid: int) -> None:
        """Put this child in. Raises OSError: it has ended already, or Windows does not allow it."""
        with Handle(_calls.call("OpenProcess", _TERMINATE | _SET_QUOTA, False, pid)) as process:
            _calls.call("AssignProcessToJobObject", self._handle.value, process.value)

    def close(self) -> None:
        """End all of them."""
        self._handle.close()

"""The end of a console: its window is closed, the user logs out, or the machine shuts down.

Windows ends a program as soon as it has been told, and after five seconds in any case; so it is told, and waited for.
"""

import ctypes
import sys
import time
from collections.abc import Callable

from gogrid.windows.calls import BOOL, POINTER, Calls

_CLOSE, _LOGOFF, _SHUTDOWN = 2, 5, 6
_LONGER_THAN_WINDOWS_WAITS_S = 10.0

_calls = Calls({"SetConsoleCtrlHandler": ("kernel32", BOOL, (POINTER, BOOL))})
_kept: list[object] = []
"""What Windows calls must not be collected."""


def on_console_end(stop: Callable[[], None]) -> None:
    """Have `stop` called, on a thread of its own. Raises OSError."""
    if sys.platform == "win32":
        handler = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint32)(
            lambda event: ended(event, stop, lambda: time.sleep(_LONGER_THAN_WINDOWS_WAITS_S))
        )
        _calls.call("SetConsoleCtrlHandler", handler, True)
        _kept.append(handler)


def ended(event: int, stop: Callable[[], None], wait: Callable[[], None]) -> int:
    """Whether this event was ours to handle: 1, when the wait is over; the program's end cuts that short."""
    if event not in (_CLOSE, _LOGOFF, _SHUTDOWN):
        return 0
    stop()
    wait()
    return 1

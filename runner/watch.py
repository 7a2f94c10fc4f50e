"""Ends this process when the one that started it is gone.

Two ways, because neither is enough: the system's (the kernel's parent-death signal on Linux, the supervisor's Job
Object on Windows), and our standard input, whose other end the supervisor holds as long as it lives. A byte from there
asks for a clean end, as Ctrl-C does: Windows has no SIGTERM. Executors hang on this process in turn, through their
sandbox.
"""

import ctypes
import os
import signal
import sys
import threading
from _thread import interrupt_main

_PR_SET_PDEATHSIG = 1


def end_with(supervisor: int) -> None:
    """Call first thing; `supervisor` is the process id that standard input and life hang on."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if sys.platform != "win32" and os.getppid() != supervisor:
        os._exit(1)
    threading.Thread(target=_watch, name="supervisor watch", daemon=True).start()


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1):
        interrupt_main()
    if sys.platform != "win32":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)

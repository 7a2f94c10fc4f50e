"""Run inside a fresh Windows sandbox by its self-test: try what must not work, and print what happened as one line.

Arguments: a host folder that must not be writable, the number of a handle that must not be here, how many processes
and how much memory this sandbox was given. Then waits until its input ends, because its end is part of the test.
Judges nothing; `windows_self_test.judge` does.
"""

import contextlib
import ctypes
import json
import os
import subprocess
import sys

from runner.sandbox.windows.api import Accounting, call, function
from runner.sandbox.windows.token import own_facts
from sandbox_profiles import windows

_ACCOUNTING = 1
_COMMIT_AND_RESERVE = 0x3000
_READ_AND_WRITE = 0x4
_BEYOND = 64 << 20


def main() -> None:
    folder, handle, processes, memory_bytes = sys.argv[1:]
    token = own_facts()
    report = {
        "privileges": sorted(token.privileges),
        "groups": sorted(token.groups),
        "integrity": token.integrity,
        "wrote": _writes(os.path.join(folder, "written")),
        "inherited": _is_job(int(handle)),
        "left_job": _leaves_job(),
        "environment": sorted(os.environ),
        "processes_started": _processes_started(int(processes)),
        "memory_refused": not _allocates(int(memory_bytes) + _BEYOND),
    }
    print(json.dumps(report), flush=True)
    sys.stdin.read()


def _writes(path: str) -> bool:
    try:
        with open(path, "w", encoding="ascii"):
            return True
    except OSError:
        return False


def _is_job(handle: int) -> bool:
    """Whether that number is an open Job Object here; a number alone may by chance be another thing's."""
    accounting = Accounting()
    try:
        return bool(
            function("QueryInformationJobObject")(
                handle, _ACCOUNTING, ctypes.byref(accounting), ctypes.sizeof(accounting), None
            )
        )
    except OSError:  # strict handle checks make a wrong number an exception
        return False


def _leaves_job() -> bool:
    """Whether a child can be started outside every Job Object."""
    try:
        child = _child(windows.Creation.BREAKAWAY_FROM_JOB)
    except OSError:
        return False
    inside = ctypes.c_int()
    try:
        call("IsProcessInJob", int(child._handle), None, ctypes.byref(inside))  # type: ignore[attr-defined,unused-ignore]
    finally:
        _end([child])
    return not inside.value


def _processes_started(limit: int) -> int:
    """How many processes there can be at once, this one included; stops trying at twice the limit."""
    children: list[subprocess.Popen[bytes]] = []
    with contextlib.suppress(OSError):
        while len(children) < 2 * limit:
            children.append(_child(windows.Creation(0)))
    alive = sum(child.poll() is None for child in children)
    _end(children)
    return alive + 1


def _child(flags: windows.Creation) -> "subprocess.Popen[bytes]":
    """A small program that waits for its input."""
    return subprocess.Popen(
        [os.path.join(os.environ["SYSTEMROOT"], "System32", "cmd.exe"), "/d", "/q"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        creationflags=int(flags | windows.Creation.DETACHED),
    )


def _end(children: "list[subprocess.Popen[bytes]]") -> None:
    for child in children:
        child.kill()
        child.communicate()


def _allocates(size: int) -> bool:
    return bool(function("VirtualAlloc")(None, size, _COMMIT_AND_RESERVE, _READ_AND_WRITE))


if __name__ == "__main__":
    main()

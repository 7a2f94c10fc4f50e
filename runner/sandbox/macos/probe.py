"""Run inside a fresh sandbox on a Mac by the self-test: try what must not work, and print what happened as JSON.

Arguments: a TCP port and a Unix socket on which the host listens; a host folder with a file `canary` in it that must
not be read; the process id of the worker. Judges nothing; `self_test.judge` does.
"""

import ctypes
import fcntl
import json
import multiprocessing
import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable
from functools import partial

from runner.sandbox import places

_SERVICES = ("com.apple.SecurityServer", "com.apple.pasteboard.1", "com.apple.coreservices.launchservicesd")
_PROGRAMS = ("/bin/sh", "/usr/bin/true", "/usr/bin/env")
_DESCRIPTORS = 256


def main() -> None:
    port, unix, canary, worker = sys.argv[1:]
    print(
        json.dumps(
            {
                "reached_port": _reaches(socket.AF_INET, ("127.0.0.1", int(port))),
                "reached_unix": _reaches(socket.AF_UNIX, unix),
                "sent_datagram": _works(lambda: _send_datagram(int(port))),
                "read_canary": _works(lambda: open(f"{canary}/canary", "rb").close()),
                "listed_folder": _works(lambda: os.listdir(canary)),
                "listed_parent": _works(lambda: os.listdir(os.path.dirname(canary))),
                "written": [path for path in _unwritable(canary) if _works(partial(_write, path))],
                "user": os.geteuid(),
                "programs": [path for path in (*_PROGRAMS, _own_program()) if _runs(path)],
                "signalled": [pid for pid in (int(worker), os.getppid()) if _works(partial(os.kill, pid, 0))],
                "services": [name for name in _SERVICES if _looks_up(name)],
                "environment": list(os.environ),
                "descriptors": [number for number in range(_DESCRIPTORS) if _is_open(number)],
                "core_bytes": resource.getrlimit(resource.RLIMIT_CORE)[1],
                "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
                "file_bytes": resource.getrlimit(resource.RLIMIT_FSIZE)[1],
                "broken": [name for name, does in _MUST_WORK if not _works(does)],
            }
        )
    )


def _works(action: Callable[[], object]) -> bool:
    try:
        action()
    except OSError:
        return False
    return True


def _reaches(family: socket.AddressFamily, address: tuple[str, int] | str) -> bool:
    def connect() -> None:
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(2)
            client.connect(address)

    return _works(connect)


def _send_datagram(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"probe", ("127.0.0.1", port))


def _unwritable(canary: str) -> tuple[str, ...]:
    """Everything that it can read and must not change, and a few places that everybody can write elsewhere."""
    return (
        canary,
        places.place("/job/in"),
        places.place("/models"),
        places.place(""),
        os.path.dirname(os.path.abspath(__file__)),
        os.path.dirname(os.path.realpath(sys.executable)),
        "/private/tmp",
        "/private/var/tmp",
        os.path.join("/Users", "Shared"),
    )


def _write(folder: str) -> None:
    path = os.path.join(folder, f"gogrid-probe-{os.getpid()}")
    with open(path, "wb"):
        pass
    os.unlink(path)


def _own_program() -> str:
    """A program that the job brings along: here the Python itself, copied to where a job can write."""
    copy = os.path.join(os.environ["TMPDIR"], "program")
    shutil.copy(os.path.realpath(sys.executable), copy)
    return copy


def _runs(path: str) -> bool:
    try:
        child = os.posix_spawn(path, [path, "-c", ""], {})
    except OSError:
        return False
    os.waitpid(child, 0)
    return True


def _looks_up(name: str) -> bool:
    """Whether a Mach service can be reached; where that cannot be asked, it counts as reached."""
    system = ctypes.CDLL(None)
    try:
        bootstrap = ctypes.c_uint32.in_dll(system, "bootstrap_port")
        port = ctypes.c_uint32()
        return int(system.bootstrap_look_up(bootstrap, name.encode(), ctypes.byref(port))) == 0
    except (AttributeError, ValueError):
        return True


def _is_open(number: int) -> bool:
    return _works(lambda: fcntl.fcntl(number, fcntl.F_GETFD))


def _write_own() -> None:
    for folder in (places.place("/job/out"), os.environ["TMPDIR"]):
        _write(folder)


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


_MUST_WORK: tuple[tuple[str, Callable[[], object]], ...] = (
    ("write to its own folders", _write_own),
    ("start a process", _fork),
    ("multiprocessing's locks", multiprocessing.Lock),
    ("write to /dev/null", lambda: open("/dev/null", "wb").close()),
    ("read randomness", lambda: open("/dev/urandom", "rb").close()),
)


if __name__ == "__main__":
    main()

"""Run inside a fresh sandbox by the self-test: try what must not work, and print what happened as one JSON object.

Arguments: a TCP port and an abstract socket name on which the host listens, a host folder that must not be seen, and
how many processes the sandbox was given. Judges nothing; `self_test.judge` does.
"""

import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Callable

from runner.sandbox.linux import kernel

_READ_ONLY = ("/", "/usr", "/dev", "/opt/gogrid/src/runner")
_CLONE_NEWUSER = 0x10000000
_NETLINK_AUDIT = 9


def main() -> None:
    port, abstract, canary, processes = sys.argv[1:]
    status = _status()
    print(
        json.dumps(
            {
                "interfaces": [name for _, name in socket.if_nameindex()],
                "reached_port": _reaches(socket.AF_INET, ("127.0.0.1", int(port))),
                "reached_abstract": _reaches(socket.AF_UNIX, "\0" + abstract),
                "sees_canary": os.path.exists(canary),
                "root": os.listdir("/"),
                "writable_mounts": [path for path in _READ_ONLY if not _is_read_only(path)],
                "capabilities": [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")],
                "no_new_privileges": status["NoNewPrivs"] == "1",
                "user": os.getuid(),
                "processes_seen": sum(name.isdecimal() for name in os.listdir("/proc")),
                "seccomp_mode": int(status["Seccomp"]),
                "ptrace_errno": _in_child(_ptrace_errno),
                "user_namespace_errno": _in_child(_user_namespace_errno),
                "audit_errno": _socket_errno(socket.AF_NETLINK, _NETLINK_AUDIT),
                "environment": list(os.environ),
                "descriptors": _descriptors(),
                "landlock_refuses": _landlock_refuses(),
                "landlock_scope_errnos": _landlock_scope_errnos(),
                "processes_started": _processes_started(int(processes)),
            }
        )
    )


def _status() -> dict[str, str]:
    with open("/proc/self/status", encoding="ascii") as status:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in status)}


def _is_read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _reaches(family: socket.AddressFamily, address: tuple[str, int] | str) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        return client.connect_ex(address) == 0


def _socket_errno(family: socket.AddressFamily, protocol: int) -> int:
    try:
        socket.socket(family, socket.SOCK_RAW, protocol).close()
    except OSError as error:
        return error.errno or -1
    return 0


def _ptrace_errno() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.ptrace(0, 0, None, None) == 0 else ctypes.get_errno()


def _user_namespace_errno() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if libc.unshare(_CLONE_NEWUSER) == 0 else ctypes.get_errno()


def _in_child(ask: Callable[[], int]) -> int:
    """The answer of `ask`, given by a child that does not live on with the consequences."""
    child = os.fork()
    if child == 0:
        os._exit(ask())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _descriptors() -> list[int]:
    """Those that are open once the listing itself is closed again."""
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    return sorted(number for number in listed if os.path.lexists(f"/proc/self/fd/{number}"))


def _landlock_refuses() -> bool:
    """A write that every other layer allows."""
    try:
        os.close(os.open("/proc/self/comm", os.O_WRONLY))
    except PermissionError:
        return True
    return False


def _landlock_scope_errnos() -> list[int]:
    """What a process that restricts itself once more gets from one that did not: for a signal, for its socket."""
    name = f"\0gogrid-scope-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(name)
        server.listen()
        return [_in_child(lambda: _restricted(_signal_errno)), _in_child(lambda: _restricted(lambda: _errno_of(name)))]


def _restricted(ask: Callable[[], int]) -> int:
    kernel.restrict_files((), ())
    return ask()


def _signal_errno() -> int:
    try:
        os.kill(os.getppid(), 0)
    except OSError as error:
        return error.errno or -1
    return 0


def _errno_of(name: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        return client.connect_ex(name)


def _processes_started(limit: int) -> int:
    """How many processes there can be at once, this one included; stops trying at twice the limit."""
    children: list[int] = []
    try:
        while len(children) < 2 * limit:
            child = os.fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)
    except BlockingIOError:
        pass
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    return len(children) + 1


if __name__ == "__main__":
    main()

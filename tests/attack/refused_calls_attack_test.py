"""Every refusal of the threat study's seccomp list as a test of its own, through the job API on a real worker."""

import platform

import pytest

from sandbox_profiles.bpf import MACHINES
from sandbox_profiles.seccomp import REFUSED
from sandbox_profiles.syscalls import NUMBERS
from tests.attack.hostile_grid import HostileGrid
from tests.attack.probes import Row, script
from tests.attack.refused_calls import (
    CALLS,
    COMMANDS,
    FAMILIES,
    NAMESPACES,
    PERSONALITIES,
    PROCESSES,
    REQUESTS,
)

pytestmark = pytest.mark.sandbox

_COLUMN = next((machine.column for machine in MACHINES if machine.name == platform.machine()), 0)
_HERE = {name: both[_COLUMN] for name, both in NUMBERS.items()}
_ON_TERMINAL = (
    "master, slave = os.openpty()\n"
    "os.setsid(); fcntl.ioctl(slave, termios.TIOCSCTTY, 0)\n"
    "return call('ioctl', slave, {request}, text('x'))"
)
_INT_0X80 = (
    "import mmap\n"
    "page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
    "page.write(bytes.fromhex('b814000000cd80c3'))\n"  # mov eax, 20 (getpid); int 0x80; ret
    "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()"
)
FOREIGN = {
    "x32": Row("libc.syscall(ctypes.c_long(0x40000000 | 39))", ("SIGSYS",)),
    "ia32": Row(_INT_0X80, ("SIGSYS",)),
}


def _rows() -> dict[str, Row]:
    rows = {
        f"call {name}": Row(f"return call({name!r}, *[-1] * 6)", (errno,))
        for name, errno in CALLS.items()
        if _HERE[name] is not None
    }
    for name, flag in NAMESPACES.items():
        rows[f"clone {name}"] = Row(
            f"number = libc.syscall(ctypes.c_long(NUMBERS['clone']), ctypes.c_long({flag | 17}), 0, 0, 0, 0)\n"
            "if number == 0: os._exit(0)\n"
            "return errno.errorcode[ctypes.get_errno()] if number == -1 else 'cloned'",
            ("EPERM",),
        )
    for name, request in REQUESTS.items():
        rows[f"ioctl {name}"] = Row(_ON_TERMINAL.replace("{request}", str(request)), ("EPERM",))
    for name, command in COMMANDS.items():
        read_lease, dn_access = 0, 1
        asks = (
            f"os.open('/tmp/leased', os.O_RDONLY | os.O_CREAT), {command}, {read_lease}"
            if "LEASE" in name
            else f"os.open('/tmp', os.O_RDONLY), {command}, {dn_access}"
        )
        rows[f"fcntl {name}"] = Row(f"return call('fcntl', {asks})", ("EPERM",))
    for name, process in PROCESSES.items():
        rows[f"prlimit64 of {name}"] = Row(f"return call('prlimit64', {process}, 7, 0, 0)", ("EPERM",))
    for name, asked in FAMILIES.items():
        rows[f"socket {name}"] = Row(f"socket.socket(*{asked})", ("EAFNOSUPPORT",))
        rows[f"socketpair {name}"] = Row(f"socket.socketpair(*{asked})", ("EAFNOSUPPORT",))
    for name, persona in PERSONALITIES.items():
        rows[f"personality {name}"] = Row(f"return call('personality', {persona})", ("EPERM",))
    return rows | ({f"call table {name}": row for name, row in FOREIGN.items()} if _COLUMN == 0 else {})


ROWS = _rows()


@pytest.fixture(scope="module")
def outcomes(grid: HostileGrid) -> dict[str, str]:
    """What each row gave, all from one job."""
    told = grid.run(script(ROWS, _HERE, {}))
    assert (told.word, told.stderr) == ("ok", "")
    return grid.lines(told)


def test_the_study_and_the_policy_name_the_same_calls() -> None:
    policy = {call: group.refusal.name for group in REFUSED for call in group.calls}
    newer_than_the_study = {"open_tree_attr": "ENOSYS"}
    assert policy == {**CALLS, **newer_than_the_study}


@pytest.mark.parametrize("row", ROWS)
def test_refused(outcomes: dict[str, str], row: str) -> None:
    assert outcomes.get(row, "no answer") in ROWS[row].right, row

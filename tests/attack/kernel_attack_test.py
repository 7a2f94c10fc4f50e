"""Threats 4, 5 and 9: a script attacks the kernel, the terminal, or objects that no namespace holds."""

import errno
import json
import platform

import pytest

from sandbox_profiles.bpf import MACHINES
from sandbox_profiles.seccomp import REFUSED, Refusal
from sandbox_profiles.syscalls import NUMBERS
from tests.attack.jobs import Jobs

pytestmark = pytest.mark.sandbox

_ASK = """
    import ctypes, errno, json, os, sys
    libc = ctypes.CDLL(None, use_errno=True)
    def ask(number, *arguments):
        arguments = [ctypes.c_long(value) for value in (arguments or [-1] * 6)]
        child = os.fork()
        if child == 0:
            result = libc.syscall(ctypes.c_long(number), *arguments)
            os._exit(ctypes.get_errno() if result == -1 else 0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def _number(call: str) -> int:
    column = next(machine.column for machine in MACHINES if machine.name == platform.machine())
    number = NUMBERS[call][column]
    assert number is not None
    return number


async def test_every_refused_system_call_gives_its_errno(jobs: Jobs) -> None:
    column = next(machine.column for machine in MACHINES if machine.name == platform.machine())
    wanted = {
        call: group.refusal.value for group in REFUSED for call in group.calls if NUMBERS[call][column] is not None
    }
    numbers = {call: NUMBERS[call][column] for call in wanted}
    seen = await jobs.run(
        _ASK + "    print(json.dumps({call: ask(number) for call, number in json.loads(sys.argv[1]).items()}))",
        arguments=(json.dumps(numbers),),
    )
    assert json.loads(seen.stdout) == wanted


@pytest.mark.parametrize(
    ("call", "arguments", "refusal"),
    [
        ("ptrace", (0, 0, 0, 0), Refusal.EPERM),
        ("process_vm_readv", (1, 0, 0, 0, 0, 0), Refusal.EPERM),
        ("add_key", (0, 0, 0, 0, -2), Refusal.EPERM),
        ("keyctl", (0, -2, 1), Refusal.EPERM),
        ("unshare", (0x10000000,), Refusal.EPERM),
        ("unshare", (0,), Refusal.EPERM),
        ("clone", (0x10000011, 0, 0, 0, 0), Refusal.EPERM),
        ("clone", (0x00020011, 0, 0, 0, 0), Refusal.EPERM),
        ("clone3", (0, 0), Refusal.ENOSYS),
        ("io_uring_setup", (1, 0), Refusal.ENOSYS),
        ("userfaultfd", (1,), Refusal.EPERM),
        ("personality", (0x0040000,), Refusal.EPERM),
        ("bpf", (0, 0, 0), Refusal.EPERM),
    ],
)
async def test_call_that_could_have_worked_is_refused(
    jobs: Jobs, call: str, arguments: tuple[int, ...], refusal: Refusal
) -> None:
    seen = await jobs.run(
        _ASK + "    print(ask(*map(int, sys.argv[1:])))", arguments=(str(_number(call)), *map(str, arguments))
    )
    assert errno.errorcode[int(seen.stdout)] == refusal.name


async def test_plain_personality_is_allowed(jobs: Jobs) -> None:
    seen = await jobs.run(
        _ASK + "    print(ask(int(sys.argv[1]), 0), ask(int(sys.argv[1]), 0xffffffff))",
        arguments=(str(_number("personality")),),
    )
    assert seen.stdout == "0 0\n"


async def test_script_cannot_type_into_a_terminal(jobs: Jobs) -> None:
    """On a real terminal of its own, which the kernel would allow; the high bits are CVE-2019-10063."""
    seen = await jobs.run(
        """
        import ctypes, errno, fcntl, os, termios
        libc = ctypes.CDLL(None, use_errno=True)
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        letter = ctypes.create_string_buffer(b"x")
        for request in (0x5412, 0x5412 | 1 << 32, 0x541C, 0x541C | 7 << 40):
            result = libc.syscall(ctypes.c_long({ioctl}), slave, ctypes.c_ulong(request), letter)
            print(errno.errorcode[ctypes.get_errno()] if result else "typed")
        fcntl.ioctl(slave, termios.TIOCNOTTY)
        """.replace("{ioctl}", str(_number("ioctl")))
    )
    assert seen.stdout.splitlines() == ["EPERM"] * 4
    assert seen.stderr == ""


async def test_script_cannot_take_a_lease_on_a_file_of_the_worker(jobs: Jobs) -> None:
    """It would hold up whoever opens the file for writing, though it is mounted read-only."""
    seen = await jobs.run(
        """
        import errno, fcntl, glob, os
        open("own", "w").close()
        theirs = glob.glob("/opt/gogrid/src/runner/python_job/*.py")
        assert theirs
        for path in (*theirs, "/usr/bin/env", "own"):
            try: fcntl.fcntl(os.open(path, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK); print("leased", path)
            except OSError as error: print(errno.errorcode[error.errno])
        """
    )
    assert set(seen.stdout.splitlines()) == {"EPERM"}
    assert seen.stderr == ""


async def test_script_cannot_watch_which_programs_the_owner_runs(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import ctypes, errno, fcntl, os
        libc = ctypes.CDLL(None, use_errno=True)
        watcher, on_open = libc.inotify_init1(0), 0x20
        print("watcher", errno.errorcode.get(ctypes.get_errno(), "made"))
        ctypes.set_errno(0)
        libc.inotify_add_watch(watcher, b"/usr/bin", on_open)
        print("inotify", errno.errorcode.get(ctypes.get_errno(), "watches"))
        try: fcntl.fcntl(os.open("/usr/bin", os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_ACCESS); print("dnotify watches")
        except OSError as error: print("dnotify", errno.errorcode[error.errno])
        """
    )
    assert seen.stdout.splitlines() == ["watcher ENOSYS", "inotify ENOSYS", "dnotify EPERM"]
    assert seen.stderr == ""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has a second system call table")
@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("x32", "libc.syscall(ctypes.c_long(0x40000000 | 39))"),
        # mov eax, 20 (getpid of the 32-bit table); int 0x80; ret
        ("ia32", "run(bytes.fromhex('b814000000cd80c3'))"),
    ],
)
async def test_foreign_system_call_table_kills_the_script(jobs: Jobs, entry: str, code: str) -> None:
    seen = await jobs.run(
        f"""
        import ctypes, mmap
        libc = ctypes.CDLL(None)
        def run(machine_code):
            page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            page.write(machine_code)
            address = ctypes.addressof(ctypes.c_char.from_buffer(page))
            ctypes.CFUNCTYPE(ctypes.c_int)(address)()
        {code}
        print("went on")
        """
    )
    assert seen.stdout == ""
    assert (seen.done.ended, seen.done.exit_code) == ("crashed", 128 + 31), entry
    assert "SIGSYS" in seen.done.detail or "Bad system call" in seen.done.detail


async def test_script_has_no_privileges_and_can_get_none(jobs: Jobs) -> None:
    seen = await jobs.run(
        """
        import os
        for line in open("/proc/self/status"):
            if line.startswith(("Cap", "NoNewPrivs", "Uid", "Seccomp:")): print(*line.split())
        for attack, value in ((os.setuid, 0), (os.setgid, 0), (os.setgroups, [0]), (os.chroot, "/tmp")):
            try: attack(value); print("worked")
            except OSError: pass
        """
    )
    lines = dict(line.split(" ", 1) for line in seen.stdout.splitlines())
    assert {lines[name] for name in ("CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:")} == {"0" * 16}
    assert lines["NoNewPrivs:"] == "1"
    assert lines["Uid:"] == "1000 1000 1000 1000"
    assert lines["Seccomp:"] == "2"
    assert "worked" not in lines
    assert seen.stderr == ""


async def test_landlock_is_a_second_wall(jobs: Jobs) -> None:
    """A write that mounts, permissions and seccomp would all allow."""
    seen = await jobs.run(
        """
        try: open("/proc/self/comm", "w")
        except PermissionError: print("refused")
        """
    )
    assert seen.stdout == "refused\n"

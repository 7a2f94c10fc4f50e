"""What a sandboxed process may not ask of the kernel, as data.

Everything else is allowed, because torch, CUDA and user scripts need a wide and changing set of calls. The rule that
keeps the list honest: Docker's default profile denies these too (or they cannot work here), and CUDA runs under it.
`tests/attack` proves each group inside the real sandbox, and also what must keep working.

`ENOSYS` where a library then falls back to an older call that the filter can judge; `EPERM` elsewhere.
"""

from dataclasses import dataclass
from enum import Enum


class Refusal(Enum):
    """The errno a refused call returns; the numbers are Linux ABI."""

    EPERM = 1
    ENOSYS = 38
    EAFNOSUPPORT = 97


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that are refused whatever their arguments are."""

    why: str
    refusal: Refusal
    calls: tuple[str, ...]


REFUSED: tuple[Group, ...] = (
    Group(
        "reading or steering other processes",
        Refusal.EPERM,
        (
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "kcmp",
            "pidfd_getfd",
            "process_madvise",
            "perf_event_open",
            "lookup_dcookie",
        ),
    ),
    Group(
        "loading code into the kernel, or raw ports",
        Refusal.EPERM,
        (
            "bpf",
            "init_module",
            "finit_module",
            "delete_module",
            "kexec_load",
            "kexec_file_load",
            "iopl",
            "ioperm",
        ),
    ),
    Group(
        "submits calls that no filter sees", Refusal.ENOSYS, ("io_uring_setup", "io_uring_enter", "io_uring_register")
    ),
    Group(
        "tells which programs and files of the machine its owner uses",
        Refusal.ENOSYS,
        ("inotify_init", "inotify_init1", "inotify_add_watch"),
    ),
    Group("holds kernel threads still, the usual helper of exploits", Refusal.EPERM, ("userfaultfd",)),
    Group("keyrings outlive the job that wrote them", Refusal.EPERM, ("keyctl", "add_key", "request_key")),
    Group(
        "building another view of the file system",
        Refusal.EPERM,
        ("unshare", "setns", "mount", "umount2", "pivot_root", "chroot"),
    ),
    Group(
        "the same through the newer calls, whose arguments a filter cannot read",
        Refusal.ENOSYS,
        (
            "open_tree",
            "open_tree_attr",
            "move_mount",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "mount_setattr",
            "clone3",
        ),
    ),
    Group(
        "settings of the whole machine",
        Refusal.EPERM,
        (
            "syslog",
            "acct",
            "quotactl",
            "quotactl_fd",
            "swapon",
            "swapoff",
            "reboot",
            "settimeofday",
            "clock_settime",
            "adjtimex",
            "clock_adjtime",
            "sethostname",
            "setdomainname",
            "vhangup",
            "uselib",
            "open_by_handle_at",
            "name_to_handle_at",
            "fanotify_init",
            "modify_ldt",
        ),
    ),
)

CLONE_NEW_FLAGS = 0x7E020000
"""Every `CLONE_NEW*` that `clone` knows: user, pid, net, ipc, uts, cgroup and mount namespaces."""

REFUSED_IOCTLS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: typing into the terminal. Compared by the low 32 bits, as the kernel does (CVE-2019-10063)."""

REFUSED_FCNTLS = (1024, 1026)
"""F_SETLEASE and F_NOTIFY. A lease holds up everybody else who opens the file, also one that is mounted read-only; the
other tells what happens in a folder, as inotify does. Compared by the low 32 bits, as the kernel does."""

OWN_PROCESS = 0
"""The only process whose limits `prlimit64` may ask for or set: the caller, as 0. Its own number is refused too, for no
filter knows it. Compared by the low 32 bits, as the kernel does."""

OPEN_FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6."""
NETLINK_FAMILY = 16
"""Only protocol 0 (routes), which `getifaddrs` needs."""

PERSONALITIES = (0, 0xFFFFFFFF)
"""Plain Linux, and the question which one is set."""

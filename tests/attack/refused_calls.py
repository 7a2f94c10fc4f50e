"""Every call, flag, request and family that the seccomp filter must refuse, as the threat study lists them.

Written out here and not taken from `sandbox_profiles/seccomp.py`, so that a call that gets lost there is missed here.
"""

from collections.abc import Mapping

_EPERM = (
    "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise perf_event_open lookup_dcookie "
    "bpf init_module finit_module delete_module kexec_load kexec_file_load iopl ioperm "
    "userfaultfd keyctl add_key request_key "
    "unshare setns mount umount2 pivot_root chroot "
    "syslog acct quotactl quotactl_fd swapon swapoff reboot settimeofday clock_settime adjtimex clock_adjtime "
    "sethostname setdomainname vhangup uselib open_by_handle_at name_to_handle_at fanotify_init modify_ldt"
)
_ENOSYS = (
    "io_uring_setup io_uring_enter io_uring_register "
    "open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr clone3 "
    "inotify_init inotify_init1 inotify_add_watch"
)
CALLS: Mapping[str, str] = {
    **dict.fromkeys(_EPERM.split(), "EPERM"),
    **dict.fromkeys(_ENOSYS.split(), "ENOSYS"),
}

NAMESPACES: Mapping[str, int] = {
    "CLONE_NEWNS": 0x00020000,
    "CLONE_NEWCGROUP": 0x02000000,
    "CLONE_NEWUTS": 0x04000000,
    "CLONE_NEWIPC": 0x08000000,
    "CLONE_NEWUSER": 0x10000000,
    "CLONE_NEWPID": 0x20000000,
    "CLONE_NEWNET": 0x40000000,
}
"""Of `clone`, each EPERM."""

REQUESTS: Mapping[str, int] = {
    "TIOCSTI": 0x5412,
    "TIOCSTI with high bits": 0x5412 | 1 << 32,
    "TIOCLINUX": 0x541C,
    "TIOCLINUX with high bits": 0x541C | 7 << 40,
}
"""Of `ioctl` on a terminal of its own, each EPERM. The high bits are CVE-2019-10063."""

COMMANDS: Mapping[str, int] = {
    "F_SETLEASE": 1024,
    "F_SETLEASE with high bits": 1024 | 1 << 32,
    "F_NOTIFY": 1026,
    "F_NOTIFY with high bits": 1026 | 7 << 40,
}
"""Of `fcntl` on a folder or a file of its own, each EPERM."""

PROCESSES: Mapping[str, int] = {
    "the supervisor": 1,
    "the supervisor with high bits": 1 | 1 << 32,
    "the script": 2,
}
"""Whose limits `prlimit64` is asked for, each EPERM."""

FAMILIES: Mapping[str, tuple[int, int, int]] = {
    "AF_AX25": (3, 5, 0),
    "AF_APPLETALK": (5, 2, 0),
    "AF_KEY": (15, 3, 2),
    "AF_PACKET": (17, 3, 0),
    "AF_RDS": (21, 5, 0),
    "AF_CAN": (29, 3, 1),
    "AF_TIPC": (30, 2, 0),
    "AF_BLUETOOTH": (31, 3, 1),
    "AF_ALG": (38, 5, 0),
    "AF_NFC": (39, 5, 0),
    "AF_VSOCK": (40, 1, 0),
    "AF_KCM": (41, 2, 0),
    "AF_QIPCRTR": (42, 2, 0),
    "AF_SMC": (43, 1, 0),
    "AF_XDP": (44, 3, 0),
    "AF_MCTP": (45, 2, 0),
    "a family that is not there yet": (99, 1, 0),
    "NETLINK_XFRM": (16, 3, 6),
    "NETLINK_AUDIT": (16, 3, 9),
    "NETLINK_NETFILTER": (16, 3, 12),
    "NETLINK_KOBJECT_UEVENT": (16, 3, 15),
    "NETLINK_GENERIC": (16, 3, 16),
}
"""Family, kind and protocol of a socket, each EAFNOSUPPORT."""

PERSONALITIES: Mapping[str, int] = {
    "ADDR_NO_RANDOMIZE": 0x0040000,
    "READ_IMPLIES_EXEC": 0x0400000,
    "PER_LINUX32": 0x0008,
}
"""Of `personality`, each EPERM."""

"""The Windows sandbox as data: Job Object, token, process attributes, environment, and which layers count.

Numbers are those of the Windows headers. What a process inside can still do is in `NEVER_ENFORCED`: a low-integrity
process reads most of what its user can read and opens sockets, so no stranger's script runs on Windows.
"""

from enum import IntFlag


class JobLimit(IntFlag):
    """`JOB_OBJECT_LIMIT_*`."""

    JOB_TIME = 0x4
    ACTIVE_PROCESS = 0x8
    PROCESS_MEMORY = 0x100
    JOB_MEMORY = 0x200
    DIE_ON_UNHANDLED_EXCEPTION = 0x400
    BREAKAWAY_OK = 0x800
    SILENT_BREAKAWAY_OK = 0x1000
    KILL_ON_JOB_CLOSE = 0x2000


class UiLimit(IntFlag):
    """`JOB_OBJECT_UILIMIT_*`: all there are."""

    HANDLES = 0x1
    READ_CLIPBOARD = 0x2
    WRITE_CLIPBOARD = 0x4
    SYSTEM_PARAMETERS = 0x8
    DISPLAY_SETTINGS = 0x10
    GLOBAL_ATOMS = 0x20
    DESKTOP = 0x40
    EXIT_WINDOWS = 0x80


class CpuRate(IntFlag):
    """`JOB_OBJECT_CPU_RATE_CONTROL_*`."""

    ENABLE = 0x1
    HARD_CAP = 0x4


class TokenFlag(IntFlag):
    """Of `CreateRestrictedToken`."""

    DISABLE_MAX_PRIVILEGE = 0x1
    LUA_TOKEN = 0x4


class Creation(IntFlag):
    """Of `CreateProcessAsUser`."""

    SUSPENDED = 0x4
    DETACHED = 0x8
    UNICODE_ENVIRONMENT = 0x400
    BELOW_NORMAL_PRIORITY = 0x4000
    EXTENDED_STARTUP_INFO = 0x80000
    BREAKAWAY_FROM_JOB = 0x1000000


class Mitigation(IntFlag):
    """`PROCESS_CREATION_MITIGATION_POLICY_*_ALWAYS_ON`."""

    FORCE_RELOCATE_IMAGES = 0x1 << 8
    HEAP_TERMINATE = 0x1 << 12
    BOTTOM_UP_ASLR = 0x1 << 16
    HIGH_ENTROPY_ASLR = 0x1 << 20
    EXTENSION_POINT_DISABLE = 0x1 << 32
    IMAGE_LOAD_NO_REMOTE = 0x1 << 52
    IMAGE_LOAD_NO_LOW_LABEL = 0x1 << 56


JOB_LIMITS = JobLimit.KILL_ON_JOB_CLOSE | JobLimit.ACTIVE_PROCESS | JobLimit.DIE_ON_UNHANDLED_EXCEPTION
"""Always; memory and time are added where a job has such a limit. Breakaway never."""
UI_LIMITS = (
    UiLimit.HANDLES
    | UiLimit.READ_CLIPBOARD
    | UiLimit.WRITE_CLIPBOARD
    | UiLimit.SYSTEM_PARAMETERS
    | UiLimit.DISPLAY_SETTINGS
    | UiLimit.GLOBAL_ATOMS
    | UiLimit.DESKTOP
    | UiLimit.EXIT_WINDOWS
)
CPU_RATE = CpuRate.ENABLE | CpuRate.HARD_CAP
PROCESSES = 64
"""Most processes in one sandbox, whatever a job asks for."""

TOKEN_FLAGS = TokenFlag.DISABLE_MAX_PRIVILEGE | TokenFlag.LUA_TOKEN
KEPT_PRIVILEGES = frozenset({"SeChangeNotifyPrivilege"})
"""Every other one is deleted: without this one not even the way to a file can be walked."""
DENIED_GROUPS = (
    "S-1-5-32-544",  # Administrators
    "S-1-5-32-547",  # Power Users
    "S-1-5-32-548",  # Account Operators
    "S-1-5-32-549",  # Server Operators
    "S-1-5-32-550",  # Print Operators
    "S-1-5-32-551",  # Backup Operators
    "S-1-5-32-552",  # Replicators
    "S-1-5-32-555",  # Remote Desktop Users
    "S-1-5-32-556",  # Network Configuration Operators
    "S-1-5-32-562",  # Distributed COM Users
    "S-1-5-32-578",  # Hyper-V Administrators
    "S-1-5-32-580",  # Remote Management Users
    "S-1-5-114",  # local account that is an administrator
)
"""May only refuse, never allow. Beside these, the administrators of a domain: `DENIED_DOMAIN_GROUPS`."""
DENIED_DOMAIN_GROUPS = ("-512", "-518", "-519", "-520")
"""Ends of domain group names: domain, schema and enterprise administrators, policy creators."""
INTEGRITY = "S-1-16-4096"
INTEGRITY_LEVEL = 0x1000
"""Low: cannot write to anything that is not itself labelled Low."""

PRIVATE_FOLDER = "D:P(A;OICI;FA;;;{user})(A;OICI;FA;;;SY)S:(ML;OICI;NW;;;LW)"
"""Of a sandbox's own folder: the worker's user and the system, writable at low integrity."""
OWN_OBJECTS = "D:(A;;GA;;;{user})(A;;GA;;;SY)"
"""Who may use what a sandboxed process makes, where it does not say: its user, whose administrators' groups no longer
count, and the system."""
WRITABLE_LABEL = "S:(ML;OICI;NW;;;LW)"
CLOSED_LABEL = "S:(ML;OICI;NW;;;ME)"
"""Of a folder that a sandbox may write, and of the same folder once that sandbox has ended."""

CREATION = (
    Creation.SUSPENDED
    | Creation.DETACHED
    | Creation.UNICODE_ENVIRONMENT
    | Creation.BELOW_NORMAL_PRIORITY
    | Creation.EXTENDED_STARTUP_INFO
)
MITIGATIONS = (
    Mitigation.FORCE_RELOCATE_IMAGES
    | Mitigation.HEAP_TERMINATE
    | Mitigation.BOTTOM_UP_ASLR
    | Mitigation.HIGH_ENTROPY_ASLR
    | Mitigation.EXTENSION_POINT_DISABLE
    | Mitigation.IMAGE_LOAD_NO_REMOTE
    | Mitigation.IMAGE_LOAD_NO_LOW_LABEL
)
"""Not among them: a ban on win32k, which graphics drivers need; on code made at run time, which torch makes; strict
handle checks, which end a process for a slip of any library's start-up; DEP and SEHOP, which 64-bit Windows always has
and refuses to be asked for."""

ENVIRONMENT = (
    ("USERNAME", "gogrid"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PYTHONUNBUFFERED", "1"),
    ("HF_HUB_OFFLINE", "1"),
)
SYSTEM_VARIABLES = ("SystemRoot", "windir")
"""The folder of Windows."""
HOME_VARIABLES = ("TEMP", "TMP", "HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA")
"""The sandbox's own folder."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
GPU_ENVIRONMENT = (("CUDA_MODULE_LOADING", "LAZY"),)
NO_GPU = "-1"
"""`CUDA_VISIBLE_DEVICES` where none is granted."""
ENVIRONMENT_NAMES = frozenset(
    {name.upper() for name, _ in (*ENVIRONMENT, *GPU_ENVIRONMENT)}
    | {name.upper() for name in (*SYSTEM_VARIABLES, *HOME_VARIABLES, *THREAD_VARIABLES)}
    | {"PATH", "SYSTEMDRIVE", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "CUDA_CACHE_PATH"}
)
"""Every name that the environment may have inside, in capitals: Windows does not tell them apart."""

KILLED = 0xE0470009
"""The exit code of what the worker ended: its own, so that it is told from the job's."""
SIGNALS = {
    KILLED: 9,
    0xC0000005: 11,  # access violation
    0xC00000FD: 11,  # stack overflow
    0xC000001D: 4,  # illegal instruction
    0xC0000096: 4,  # privileged instruction
    0xC0000094: 8,  # integer division by zero
    0xC0000409: 6,  # abort, stack buffer overrun
    1816: 24,  # not enough quota: the job's processor time is used up
}
"""Exit codes of Windows that are told as the signal of the same meaning."""
FATAL = range(0xC0000000, 0xD0000000)
OTHER_FATAL = 6
"""Any other error of the system itself is told as this signal."""

REQUIRED_LAYERS = (
    "ends with the worker",
    "no way out of the job",
    "restricted token",
    "no writing to the owner's files",
    "no inherited handles",
    "clean environment",
)
"""Without any one of these nothing runs on this machine."""
NEVER_ENFORCED = (
    "no network",
    "no host files",
    "size limit of temporary files",
    "no devices but the granted GPUs",
)
"""What a Job Object and a token cannot do. Python jobs need the first two, so Windows takes none."""


def is_denied(group: str) -> bool:
    """Whether a group, by its SID, may only refuse: administrators of the machine or of a domain."""
    return group in DENIED_GROUPS or (group.startswith("S-1-5-21-") and group.endswith(DENIED_DOMAIN_GROUPS))

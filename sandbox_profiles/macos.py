"""The macOS sandbox as data: its parameters, environment, what the profile may say at all, and which layers count.

The rules themselves are `gogrid.sb` and `gogrid_gpu.sb`. `runner/sandbox/macos/profile.py` holds them against what is
listed here before they are used, so that a rule that opens more than this page says starts nothing.
"""

PROFILE = "gogrid.sb"
GPU_PROFILE = "gogrid_gpu.sb"
SANDBOX_EXEC = "/usr/bin/sandbox-exec"
"""By its full path, so that no PATH decides what the sandbox is."""

READABLE_PARAMETERS = ("RT", "SITE", "GOGRID", "RUNNER", "MODELS", "IN")
WRITABLE_PARAMETERS = ("OUT", "TMP")
PARAMETERS = (*READABLE_PARAMETERS, *WRITABLE_PARAMETERS)

LINKS_OF_THE_SYSTEM = ("/var", "/tmp", "/etc")  # noqa: S108 - names, not files
"""Links into /private on every Mac: a parameter below one would never match."""
TOO_WIDE = (
    "/",
    "/Applications",
    "/Library",
    "/System",
    "/Users",
    "/Volumes",
    "/opt",
    "/opt/homebrew",
    "/private",
    "/private/tmp",
    "/private/var",
    "/private/var/folders",
    "/usr",
    "/usr/local",
)
"""Folders that hold other people's or other programs' files: never a parameter, as little as the home folder is."""

ENVIRONMENT = (
    ("PATH", "/usr/bin"),
    ("USER", "gogrid"),
    ("LANG", "en_US.UTF-8"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PYTHONUNBUFFERED", "1"),
    ("PYTHONUTF8", "1"),
    ("HF_HUB_OFFLINE", "1"),
)
FOLDER_VARIABLES = ("HOME", "TMPDIR")
"""Both name the job's own temporary folder."""
TEMPORARY = "/tmp"  # noqa: S108 - below the job's own folder
PLACES_VARIABLE = "GOGRID_PLACES"
"""Below which folder `/models`, `/job` and `/work` lie for this job; see `runner/sandbox/places.py`."""
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
ENVIRONMENT_NAMES = frozenset(
    {name for name, _ in ENVIRONMENT} | {*FOLDER_VARIABLES, PLACES_VARIABLE, *THREAD_VARIABLES, "PYTHONPATH"}
)
"""Every name that the launcher sets. Nothing of the worker's own environment is passed on."""
ADDED_BY_THE_SYSTEM = frozenset({"__CF_USER_TEXT_ENCODING", "__PYVENV_LAUNCHER__", "LC_CTYPE", "PWD"})
"""Set by macOS or Python itself on the way."""

OPEN_FILES = 1024
SAMPLE_ROOM_EVERY_S = 1.0
MOST_ENTRIES = 100_000
"""Files and folders that a job may have at once in its own folders."""

OPERATIONS = frozenset(
    {
        "file-map-executable",
        "file-read*",
        "file-read-metadata",
        "file-test-existence",
        "file-write*",
        "file-write-data",
        "ipc-posix-sem",
        "ipc-posix-shm-read-data",
        "ipc-posix-shm-write-create",
        "ipc-posix-shm-write-data",
        "ipc-posix-shm-write-unlink",
        "mach-lookup",
        "process-exec",
        "process-fork",
        "process-info*",
        "signal",
        "sysctl-read",
    }
)
"""All that `gogrid.sb` may allow; no network operation is among them."""
GPU_OPERATIONS = frozenset(
    {"file-issue-extension", "file-map-executable", "file-read*", "iokit-get-properties", "iokit-open", "mach-lookup"}
)
"""All that `gogrid_gpu.sb` may allow."""
UNFILTERED = frozenset(
    {
        "file-read-metadata",
        "file-test-existence",
        "iokit-get-properties",
        "ipc-posix-sem",
        "process-fork",
        "sysctl-read",
    }
)
"""Operations that need no filter; every other one must say to what it applies."""
SERVICES = frozenset({"com.apple.system.opendirectoryd.libinfo", "com.apple.logd"})
GPU_SERVICES = frozenset({"com.apple.MTLCompilerService"})
SYSTEM_FOLDERS = frozenset(
    {
        "/usr/lib",
        "/usr/share",
        "/System/Library",
        "/System/Cryptexes/OS",
        "/System/Volumes/Preboot/Cryptexes/OS",
    }
)
GPU_FOLDERS = frozenset({"/Library/GPUBundles"})
SYSTEM_FILES = frozenset({"/", "/dev/urandom", "/dev/random", "/dev/null", "/dev/zero"})
GPU_CLASSES = frozenset({"AGXDeviceUserClient"})

REQUIRED_LAYERS = (
    "no network",
    "no host files",
    "read-only system",
    "no privileges",
    "no foreign programs",
    "no foreign processes",
    "no system services",
    "clean environment",
)
"""Without any one of these nothing runs on this machine."""
SCRIPT_LAYERS = ("resource limits",)
"""Without any one of these models may run, but no stranger's script."""
SCRIPTS = False
"""Whether Python jobs may run at all: their supervisor leans on a process namespace, which macOS does not have."""
NEVER_ENFORCED = (
    "process limit (watched four times a second; macOS counts all of a user's processes together)",
    "memory limit (watched four times a second)",
    "size limit of a job's folders together (watched once a second)",
    "processor share (macOS has none for a group of processes)",
    "own process tree (a process that leaves its group and its parent within a quarter of a second outlives the job)",
    "names of files (that a file exists can be seen, not what is in it)",
)
"""What no Mac can enforce on a job; always told as missing."""

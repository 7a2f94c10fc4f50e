"""The Linux sandbox as data: what is shown inside, which variables, which devices, which limits, which layers count.

Order matters where it is said so. Nothing here is a default that a caller may widen except through `SandboxSpec`.
"""

BASE = "/opt/gogrid"
PYTHON = f"{BASE}/python"
SITE = f"{BASE}/site"
SOURCE = f"{BASE}/src"
JOB_IN = "/job/in"
JOB_OUT = "/job/out"
MODELS = "/models"

USER_ID = 1000
HOST_NAME = "gogrid"

SYMLINKS = (("usr/lib", "/lib"), ("usr/lib64", "/lib64"), ("usr/bin", "/bin"))
"""A merged /usr, as every current distribution has it."""

SHOWN_IF_PRESENT = ("/etc/ld.so.cache", "/etc/alternatives", "/sys/devices/system/cpu")
"""Read-only, beside /usr: the loader's cache, Debian's chosen libraries, how many processors there are."""

ROOT_ENTRIES = frozenset({"bin", "dev", "etc", "job", "lib", "lib64", "models", "opt", "proc", "sys", "tmp", "usr"})
"""Every name that `ls /` may show inside."""

ENVIRONMENT = (
    ("PATH", "/usr/bin"),
    ("HOME", "/tmp"),  # noqa: S108 - the sandbox's own
    ("USER", "gogrid"),
    ("LANG", "C.UTF-8"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PYTHONUNBUFFERED", "1"),
    ("HF_HUB_OFFLINE", "1"),
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
GPU_ENVIRONMENT = (("CUDA_CACHE_PATH", "/tmp/cuda"), ("CUDA_MODULE_LOADING", "LAZY"))  # noqa: S108
ENVIRONMENT_NAMES = frozenset(
    {name for name, _ in ENVIRONMENT}
    | set(THREAD_VARIABLES)
    | {name for name, _ in GPU_ENVIRONMENT}
    | {"CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "PYTHONPATH", "PWD"}
)
"""Every name that the environment may have inside."""

SCRIPT_WEIGHT = 50
"""Of busy processors, where another program has 100."""
SUPERVISOR_BYTES = 32 << 20
"""Of main memory, beside what a job may use: for what the sandbox itself needs."""
SHM_BYTES = 64 << 20
OPEN_FILES = 1024

GPU_SYSFS = ("/sys/bus/pci", "/sys/devices")
GPU_SYSFS_IF_PRESENT = ("/sys/module/nvidia",)
GPU_SYSFS_WIDE = ("/sys/block", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices", "/sys/module/nvidia")
"""Instead of the two above, where the driver does not start with them: what Flatpak shows. Never all of /sys."""
GPU_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm")
GPU_NODES_IF_PRESENT = ("/dev/nvidia-uvm-tools",)
"""Compute nodes only: never nvidia-modeset, never /dev/dri/card*."""

READABLE = ("/usr", "/opt", "/etc", "/sys", "/proc", MODELS, JOB_IN)
"""Landlock: read and execute."""
WRITABLE = ("/tmp", "/dev", JOB_OUT)  # noqa: S108
"""Landlock: everything; /dev holds only what bubblewrap made and is read-only itself."""
GPU_WRITABLE = ("/proc",)
"""CUDA names its threads through /proc/<pid>/task/<tid>/comm."""

REQUIRED_LAYERS = (
    "no network",
    "no host files",
    "read-only system",
    "no privileges",
    "own process tree",
    "seccomp filter",
    "clean environment",
)
"""Without any one of these nothing runs on this machine."""
SCRIPT_LAYERS = ("Landlock", "process limit")
"""Without any one of these models may run, but no stranger's script."""
UNUSED_ADDRESSES = 8 << 30
"""A process may map so much more than it may use, where all of its sandbox together are held to that: torch maps 3 GB
of libraries and touches half a gigabyte."""
MEMORY_LAYER = "memory limit over all processes together"
CPU_LAYER = "processor limit over all processes together"
SCOPE_LAYER = "Landlock scope"
GPU_LAYER = "GPU in the sandbox"
"""Reported where they hold and where they do not. Not required: a watchdog covers the first, a limit for each process
the second, the namespaces the third; and a job that needs a GPU is refused where it does not work."""

"""The bubblewrap options of one sandbox, and its first orders: pure functions of policy, Python and `SandboxSpec`.

What is not named here is not there. The order is part of the policy: device nodes after `--dev`, which would cover
them; mounts of a job after those of the system; everything before the root and /dev turn read-only. A caller can add
mounts below a few places only, and never replace one of the system's.
"""

from dataclasses import dataclass

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Mount, SandboxSpec
from runner.sandbox.linux.orders import Orders
from runner.sandbox.linux.python_home import PythonHome
from sandbox_profiles import linux

_MOUNT_PLACES = (linux.MODELS, linux.JOB_IN, "/work")


@dataclass(frozen=True, slots=True)
class GpuAccess:
    """What this machine's GPU needs beyond its nodes, as the self-test found out."""

    landlock: bool = True
    """Whether it works behind Landlock."""
    wide_sysfs: bool = False
    """Whether it needs more of /sys than its own folders."""


_USUAL_GPU = GpuAccess()


def bwrap_options(
    home: PythonHome, spec: SandboxSpec, seccomp_fd: int, gpu_nodes: tuple[str, ...] = (), gpu: GpuAccess = _USUAL_GPU
) -> tuple[str, ...]:
    """All options; the program to run inside comes after them.

    Args:
        seccomp_fd: the number under which bubblewrap holds the system call filter.
        gpu_nodes: the `/dev/nvidia<N>` of each entry of `spec.gpus`, in the same order.

    Raises:
        SandboxUnavailableError: a mount lies where a caller may not mount, or a granted GPU has no node.
    """
    for mount in spec.mounts:
        _check_place(mount, forbidden="\0")
    if spec.writable:
        _check_place(spec.writable, forbidden="\0:|")
    if len(gpu_nodes) != len(spec.gpus):
        raise SandboxUnavailableError("A granted GPU has no device node on this machine; run `gogrid-worker doctor`.")
    return (
        *_isolation(),
        *_environment(home, spec),
        *_system(),
        *_python(home),
        *_memory_file_systems(spec),
        *_job(spec),
        *(_gpu(gpu_nodes, gpu) if gpu_nodes else ()),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
        *("--chdir", "/tmp", "--seccomp", str(seccomp_fd)),  # noqa: S108
    )


def sandbox_orders(spec: SandboxSpec, gpu: GpuAccess = _USUAL_GPU, *, together: bool = False) -> Orders:
    """What `inside.py` lays on itself first.

    Args:
        together: all processes together are held to the memory limit; each one's addresses may then be more.
    """
    largest_file = max(spec.tmp_bytes, spec.out_bytes, linux.SHM_BYTES)
    addresses = -1
    if spec.memory_bytes is not None and spec.address_space and not spec.gpus:
        addresses = spec.memory_bytes + (linux.UNUSED_ADDRESSES if together else 0)
    return Orders(
        processes=spec.processes,
        open_files=linux.OPEN_FILES,
        memory_bytes=addresses,
        cpu_seconds=-1 if spec.cpu_seconds is None else spec.cpu_seconds,
        file_bytes=-1 if spec.writable else largest_file,
        readable=linux.READABLE,
        writable=(
            *linux.WRITABLE,
            *((spec.writable.inside,) if spec.writable else ()),
            *(linux.GPU_WRITABLE if spec.gpus else ()),
        ),
        landlock=gpu.landlock or not spec.gpus,
    )


def _isolation() -> tuple[str, ...]:
    user = str(linux.USER_ID)
    return (
        *("--unshare-all", "--unshare-user", "--disable-userns", "--assert-userns-disabled"),
        *("--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"),
        *("--hostname", linux.HOST_NAME, "--uid", user, "--gid", user),
    )


def _environment(home: PythonHome, spec: SandboxSpec) -> tuple[str, ...]:
    variables = dict(linux.ENVIRONMENT)
    variables |= dict.fromkeys(linux.THREAD_VARIABLES, str(spec.threads))
    if home.site:
        variables["PYTHONPATH"] = ":".join(home.site)
    if home.library_path:
        variables["LD_LIBRARY_PATH"] = home.library_path
    if spec.gpus:
        variables |= {**dict(linux.GPU_ENVIRONMENT), "CUDA_VISIBLE_DEVICES": ",".join(spec.gpus)}
    return ("--clearenv", *(part for name, value in variables.items() for part in ("--setenv", name, value)))


def _system() -> tuple[str, ...]:
    arguments = ["--ro-bind", "/usr", "/usr"]
    for target, link in linux.SYMLINKS:
        arguments += ["--symlink", target, link]
    for path in linux.SHOWN_IF_PRESENT:
        arguments += ["--ro-bind-try", path, path]
    return (*arguments, "--proc", "/proc", "--dev", "/dev")


def _python(home: PythonHome) -> tuple[str, ...]:
    arguments: list[str] = []
    for mount in home.mounts:
        arguments += ["--ro-bind", str(mount.host), mount.inside]
    for folder in home.hidden:
        arguments += ["--tmpfs", folder, "--remount-ro", folder]
    return tuple(arguments)


def _memory_file_systems(spec: SandboxSpec) -> tuple[str, ...]:
    arguments = ["--size", str(linux.SHM_BYTES), "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    arguments += ["--size", str(spec.tmp_bytes), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108
    if spec.out_bytes:
        arguments += ["--size", str(spec.out_bytes), "--perms", "0755", "--tmpfs", linux.JOB_OUT]
    return tuple(arguments)


def _job(spec: SandboxSpec) -> tuple[str, ...]:
    arguments: list[str] = []
    for mount in spec.mounts:
        arguments += ["--ro-bind", str(mount.host), mount.inside]
    if spec.writable:
        arguments += ["--bind", str(spec.writable.host), spec.writable.inside]
    return tuple(arguments)


def _gpu(nodes: tuple[str, ...], gpu: GpuAccess) -> tuple[str, ...]:
    arguments: list[str] = []
    for path in () if gpu.wide_sysfs else linux.GPU_SYSFS:
        arguments += ["--ro-bind", path, path]
    for path in linux.GPU_SYSFS_WIDE if gpu.wide_sysfs else linux.GPU_SYSFS_IF_PRESENT:
        arguments += ["--ro-bind-try", path, path]
    for path in (*linux.GPU_NODES, *nodes):
        arguments += ["--dev-bind", path, path]
    for path in linux.GPU_NODES_IF_PRESENT:
        arguments += ["--dev-bind-try", path, path]
    return tuple(arguments)


def _check_place(mount: Mount, forbidden: str) -> None:
    parts = mount.inside.split("/")
    allowed = any(mount.inside == place or mount.inside.startswith(f"{place}/") for place in _MOUNT_PLACES)
    if not allowed or ".." in parts or "." in parts or "" in parts[1:] or set(mount.inside) & set(forbidden):
        raise SandboxUnavailableError(
            f"Nothing may be mounted at {mount.inside!r} in a sandbox; allowed are {', '.join(_MOUNT_PLACES)}."
        )

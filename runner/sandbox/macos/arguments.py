"""The `sandbox-exec` command line and environment of one job: pure functions of policy, Python, folders and spec.

Promises: the profile is one argument and every path another, so that no path can become a rule; every path is
canonical and narrow, or nothing is started; the environment has the names of the policy and no other.
"""

import posixpath
from dataclasses import dataclass

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Mount, SandboxSpec
from sandbox_profiles import linux, macos


@dataclass(frozen=True, slots=True)
class MacPython:
    """The Python that runs inside, by canonical host paths."""

    executable: str
    root: str
    """Its own folder; nothing outside of it may be executed."""
    site: str
    """The folder of its packages that lies outside of `root`, or else the one inside."""
    packages: str
    """All of them as `PYTHONPATH` wants it."""
    gogrid: str
    runner: str
    """Our two packages' folders."""
    bootstrap: str
    """Where `macos/inside.py` lies."""


@dataclass(frozen=True, slots=True)
class JobFolders:
    """One job's own folders, by canonical host paths. All of them exist; those a job does not use are empty."""

    root: str
    inputs: str
    outputs: str
    temporary: str
    models: str


def sandbox_exec_arguments(
    sandbox_exec: str, profile: str, python: MacPython, folders: JobFolders, spec: SandboxSpec, home: str
) -> tuple[str, ...]:
    """The whole argument vector, the program's own path first.

    Args:
        home: the folder of the user who runs the worker; no parameter may hold it.

    Raises:
        SandboxUnavailableError: a path cannot be a parameter, or a mount lies where none may be.
    """
    values = parameters(python, folders, spec)
    for name, path in values.items():
        check_path(name, path, home)
    definitions = tuple(part for name, path in values.items() for part in ("-D", f"{name}={path}"))
    return (
        *(sandbox_exec, *definitions, "-p", profile),
        *(python.executable, "-I", "-S", "-B", "-X", "utf8", python.bootstrap, _limits(spec), *spec.arguments),
    )


def parameters(python: MacPython, folders: JobFolders, spec: SandboxSpec) -> dict[str, str]:
    """The profile's parameters, by name. Raises `SandboxUnavailableError`."""
    models = [str(mount.host) for mount in spec.mounts if _below(mount, linux.MODELS)]
    strange = [
        mount.inside for mount in spec.mounts if not (_below(mount, linux.MODELS) or _below(mount, linux.JOB_IN))
    ]
    if strange:
        raise SandboxUnavailableError(
            f"Nothing may be mounted at {strange[0]!r} in a sandbox; allowed are {linux.MODELS}, {linux.JOB_IN}."
        )
    if len(models) > 1:
        raise SandboxUnavailableError("A sandbox on a Mac shows one model; this job asks for several.")
    if spec.writable and spec.out_bytes:
        raise SandboxUnavailableError("A sandbox on a Mac has one folder to write to; this job asks for two.")
    return {
        "RT": python.root,
        "SITE": python.site,
        "GOGRID": python.gogrid,
        "RUNNER": python.runner,
        "MODELS": models[0] if models else folders.models,
        "IN": folders.inputs,
        "OUT": str(spec.writable.host) if spec.writable else folders.outputs,
        "TMP": folders.temporary,
    }


def check_path(name: str, path: str, home: str) -> None:
    """Raises `SandboxUnavailableError` for a path that the kernel would never match, or that would open too much."""
    linked = any(path == link or path.startswith(f"{link}/") for link in macos.LINKS_OF_THE_SYSTEM)
    if not path.startswith("/") or path != posixpath.normpath(path) or path.startswith("//") or "\0" in path or linked:
        raise SandboxUnavailableError(
            f"The sandbox path {name}={path!r} is not canonical; on a Mac it must be absolute and without links "
            "(/private/var, not /var)."
        )
    if path in macos.TOO_WIDE or home == path or home.startswith(f"{path}/"):
        raise SandboxUnavailableError(
            f"The sandbox path {name}={path!r} would show a job far more than its own files; "
            "use a folder of its own (for Python: a virtual environment of one from python.org or uv)."
        )


def environment(python: MacPython, folders: JobFolders, spec: SandboxSpec) -> dict[str, str]:
    """All variables of the job."""
    return {
        **dict(macos.ENVIRONMENT),
        **dict.fromkeys(macos.FOLDER_VARIABLES, folders.temporary),
        **dict.fromkeys(macos.THREAD_VARIABLES, str(spec.threads)),
        macos.PLACES_VARIABLE: folders.root,
        "PYTHONPATH": python.packages,
    }


def _limits(spec: SandboxSpec) -> str:
    """For `macos/inside.py`: open files, processor seconds, bytes of one file; -1: no limit."""
    largest = -1 if spec.writable else max(spec.tmp_bytes, spec.out_bytes)
    return f"{macos.OPEN_FILES},{-1 if spec.cpu_seconds is None else spec.cpu_seconds},{largest}"


def _below(mount: Mount, place: str) -> bool:
    parts = mount.inside.split("/")
    return mount.inside.startswith(f"{place}/") and not {"", ".", ".."} & set(parts[1:]) and "\0" not in mount.inside

"""Which Python runs inside the sandbox, and what of the host must be shown for it.

Promises that only the interpreter, its standard library, the packages of the running environment and GoGrid's own
packages become visible, all read-only and at paths that tell nothing of the host. Works for an interpreter below
/usr, a pyenv, uv or conda prefix, with or without a virtual environment, editable installs and `.pth` files included
(they are not followed: what they point to is not shown), and for the Python that a frozen program carries.
"""

from dataclasses import dataclass
from pathlib import Path

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Mount
from runner.sandbox.interpreter import Interpreter, Shipped
from sandbox_profiles import linux

_USR = Path("/usr")


@dataclass(frozen=True, slots=True)
class PythonHome:
    """The same, as the sandbox sees it."""

    executable: str
    mounts: tuple[Mount, ...]
    hidden: tuple[str, ...]
    """Folders below a mount that are covered by an empty one."""
    library_path: str
    """For `LD_LIBRARY_PATH`; empty: not needed."""
    site: tuple[str, ...]
    """Folders to import from, besides the standard library."""
    bootstrap: str
    """Where `inside.py` lies."""

    @property
    def command(self) -> tuple[str, ...]:
        """What runs inside; its arguments are the bootstrap's."""
        return (self.executable, "-I", "-S", "-B", self.bootstrap)


def python_home(python: Interpreter) -> PythonHome:
    """Raises `SandboxUnavailableError` if the interpreter does not lie in its own prefix."""
    if python.shipped is not None:
        executable, mounts, library_path = _shipped(python, python.shipped)
        hidden: list[str] = []
    else:
        executable, mounts, library_path, hidden = _installed(python)
    site_mounts, site = _site(python)
    mounts += site_mounts
    mounts += [Mount(source, f"{linux.SOURCE}/{source.name}") for source in python.sources]
    return PythonHome(
        executable=executable,
        mounts=tuple(mounts),
        hidden=tuple(hidden),
        library_path=library_path,
        site=tuple(site),
        bootstrap=f"{linux.SOURCE}/runner/sandbox/linux/inside{python.suffix}",
    )


def _installed(python: Interpreter) -> tuple[str, list[Mount], str, list[str]]:
    """Its path inside, mounts, library path, and what to hide of them."""
    if python.executable.is_relative_to(_USR):
        return str(python.executable), [], "", []
    if not python.executable.is_relative_to(python.prefix):
        raise SandboxUnavailableError(
            f"The Python at {python.executable} lies outside its own folder {python.prefix}, so it cannot be shown "
            "in a sandbox; install GoGrid with another Python."
        )
    mounts = [Mount(python.prefix / part, f"{linux.PYTHON}/{part}") for part in ("bin", "lib")]
    own_site = python.prefix / "lib" / f"python{python.version}" / "site-packages"
    return (
        f"{linux.PYTHON}/{python.executable.relative_to(python.prefix)}",
        mounts,
        f"{linux.PYTHON}/lib" if python.shared_library else "",
        [f"{linux.PYTHON}/{own_site.relative_to(python.prefix)}"] if own_site.is_dir() else [],
    )


def _shipped(python: Interpreter, parts: Shipped) -> tuple[str, list[Mount], str]:
    """Its path inside, mounts and library path: its parts are put together as an installed Python has them."""
    executable = f"{linux.PYTHON}/bin/{python.executable.name}"
    mounts = [Mount(python.executable, executable), Mount(parts.stdlib, f"{linux.PYTHON}/lib/python{python.version}")]
    mounts += [Mount(library, f"{linux.PYTHON}/lib/{library.name}") for library in parts.libraries]
    return executable, mounts, f"{linux.PYTHON}/lib"


def _site(python: Interpreter) -> tuple[list[Mount], list[str]]:
    """The package folders on `sys.path`: what to mount, and where each one is inside. Those below /usr are there."""
    mounts: list[Mount] = []
    inside: list[str] = []
    for folder in dict.fromkeys(python.path):
        if folder.name not in ("site-packages", "dist-packages") or not folder.is_dir():
            continue
        if folder.is_relative_to(_USR):
            inside.append(str(folder))
            continue
        place = f"{linux.SITE}-{len(mounts) + 1}" if mounts else linux.SITE
        mounts.append(Mount(folder, place))
        inside.append(place)
    return mounts, inside

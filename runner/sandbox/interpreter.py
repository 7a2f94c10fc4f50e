"""The Python that sandboxes run: the facts that every system's launcher needs.

From source it is the one that runs this program. A frozen program is no Python, so it carries a genuine one beside it,
with the whole standard library; `packaging/app` puts both together.
"""

import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import gogrid
import runner

INSIDE = "inside"
"""The folder of a frozen program in which its genuine Python lies."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """Parts of a Python that do not lie together in a folder of its own."""

    stdlib: Path
    """What is `lib/python3.11` elsewhere."""
    libraries: tuple[Path, ...]
    """Shared libraries that it and its modules load."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The facts about a Python that decide what to mount."""

    executable: Path
    """With all links resolved."""
    prefix: Path
    """Its own, not a virtual environment's; links resolved."""
    version: str
    """`3.11`."""
    shared_library: bool
    path: tuple[Path, ...]
    """Its `sys.path`."""
    sources: tuple[Path, ...]
    """The folders of the packages that run inside."""
    suffix: str = ".py"
    """Of the files in them; `.pyc` where no source is shipped."""
    shipped: Shipped | None = None
    """Only of a frozen program's."""


def running_interpreter(packs: tuple[Path, ...] = ()) -> Interpreter:
    """Args: packs: folders named `site-packages` to import from, behind those of the environment."""
    if home := frozen_home():
        return shipped_interpreter(home, packs, sys.platform)
    base: str = getattr(sys, "_base_executable", sys.executable)
    return Interpreter(
        executable=Path(base).resolve(),
        prefix=Path(sys.base_prefix).resolve(),
        version=_version(),
        shared_library=bool(sysconfig.get_config_var("Py_ENABLE_SHARED")),
        path=(*(Path(entry).resolve() for entry in sys.path if entry), *packs),
        sources=tuple(Path(str(package.__file__)).resolve().parent for package in (gogrid, runner)),
    )


def frozen_home() -> Path | None:
    """The folder of a frozen program's modules and libraries; None: this runs from source."""
    return Path(str(getattr(sys, "_MEIPASS", ""))).resolve() if getattr(sys, "frozen", False) else None


def shipped_interpreter(home: Path, packs: tuple[Path, ...], platform: str) -> Interpreter:
    """The genuine Python of the frozen program whose parts lie in `home`."""
    name = f"python{_version()}"
    # Windows looks for a program's libraries beside it.
    executable = home / "python.exe" if platform == "win32" else home / INSIDE / "bin" / name
    return Interpreter(
        executable=executable,
        prefix=home,
        version=_version(),
        shared_library=True,
        path=packs,
        sources=(home / "gogrid", home / "runner", home / "msgspec"),
        suffix=".pyc",
        shipped=Shipped(home / name, tuple(sorted(path for path in home.glob("lib*.so*") if path.is_file()))),
    )


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"

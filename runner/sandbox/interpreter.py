"""The Python that runs this program, and so its sandboxes: the facts that every system's launcher needs."""

import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import gogrid
import runner


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The facts about a running Python that decide what to mount."""

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


def running_interpreter() -> Interpreter:
    base: str = getattr(sys, "_base_executable", sys.executable)
    return Interpreter(
        executable=Path(base).resolve(),
        prefix=Path(sys.base_prefix).resolve(),
        version=f"{sys.version_info.major}.{sys.version_info.minor}",
        shared_library=bool(sysconfig.get_config_var("Py_ENABLE_SHARED")),
        path=tuple(Path(entry).resolve() for entry in sys.path if entry),
        sources=tuple(Path(str(package.__file__)).resolve().parent for package in (gogrid, runner)),
    )

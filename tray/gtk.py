"""What to do where Python does not find GTK. Pure, but for a look at where the system keeps its own packages.

The system's bindings are installed for the system's Python; a virtual environment sees them only when it was made so.
"""

import sys
from pathlib import Path


def gtk_advice(packages: str, error: Exception | None) -> str:
    """What to install, or how to make seen what is; a sentence without its end.

    Args:
        packages: the system's, as Debian names them.
        error: of the import; None: not known.
    """
    without = error is None or (isinstance(error, ImportError) and error.name == "gi")
    return advice(packages, without_bindings=without, environment=Path(sys.prefix), base=Path(sys.base_prefix))


def advice(packages: str, *, without_bindings: bool, environment: Path, base: Path) -> str:
    """
    Args:
        without_bindings: Python finds no `gi`; else what is missing is one of the libraries behind it.
        environment: where this Python's packages are; equal to `base` outside of a virtual environment.
    """
    if not without_bindings or environment == base:
        return f"install {packages}"
    see = f"python3 -m venv --system-site-packages {environment}"
    if any(folder.is_dir() for folder in _bindings(base)):
        return f"python3-gi is installed, but this virtual environment does not see it; run: {see}"
    return f"install {packages}, and let this virtual environment see them: {see}"


def _bindings(base: Path) -> tuple[Path, ...]:
    own = f"python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    return tuple(base / folder / "gi" for folder in ("lib/python3/dist-packages", f"lib/{own}", f"lib64/{own}"))

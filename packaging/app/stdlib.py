"""The whole standard library as compiled modules: what engine packs and scripts import, whatever our own code uses.

Without what needs a screen, a terminal game or a compiler. The same Python makes the same bytes every time.
"""

import py_compile
import sys
import sysconfig
from pathlib import Path

_LEFT_OUT = (
    *("test", "tests", "idlelib", "idle_test", "tkinter", "turtledemo", "turtle.py", "lib2to3", "ensurepip", "venv"),
    *("distutils", "pydoc_data", "msilib", "antigravity.py", "this.py", "__phello__", "__pycache__"),
    *("site-packages", "dist-packages"),
)


def compile_stdlib(into: Path) -> Path:
    """Make `into/python3.11/…`; returns that folder."""
    source = Path(sysconfig.get_path("stdlib"))
    target = into / f"python{sys.version_info.major}.{sys.version_info.minor}"
    for file in sorted(source.rglob("*.py")):
        name = file.relative_to(source)
        if set(_LEFT_OUT) & set(name.parts) or any(part.startswith("config-") for part in name.parts):
            continue
        made = target / name.with_suffix(".pyc")
        made.parent.mkdir(parents=True, exist_ok=True)
        py_compile.compile(
            str(file),
            str(made),
            dfile=f"{target.name}/{name.as_posix()}",
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    return target

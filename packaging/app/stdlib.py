"""The whole standard library as compiled modules: what engine packs and scripts import, whatever our own code uses.

Without what needs a screen, a terminal game or a compiler. The same Python makes the same bytes every time.
"""

import importlib.util
import py_compile
import sys
import sysconfig
import zipfile
from pathlib import Path, PurePosixPath

_LEFT_OUT = (
    *("test", "tests", "idlelib", "idle_test", "tkinter", "turtledemo", "turtle.py", "lib2to3", "ensurepip", "venv"),
    *("distutils", "pydoc_data", "msilib", "antigravity.py", "this.py", "__phello__", "__pycache__"),
    *("site-packages", "dist-packages"),
)


def compile_stdlib(into: Path) -> Path:
    """Make `into/python3.11/…`; returns that folder."""
    source = Path(sysconfig.get_path("stdlib"))
    target = into / f"python{sys.version_info.major}.{sys.version_info.minor}"
    archive = Path(sys.base_prefix) / f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    if archive.is_file():
        return unpack_stdlib(archive, target)
    for file in sorted(source.rglob("*.py")):
        name = file.relative_to(source)
        if _is_left_out(name.as_posix()):
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


def unpack_stdlib(archive: Path, target: Path) -> Path:
    """From Windows' embeddable Python, which has it as an archive of compiled modules, without a date in them."""
    unchecked = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
    with zipfile.ZipFile(archive) as opened:
        for name in sorted(opened.namelist()):
            if not name.endswith(".pyc") or _is_left_out(name.removesuffix("c")):
                continue
            made = target / name
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_bytes(unchecked + opened.read(name)[len(unchecked) :])
    return target


def _is_left_out(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(set(_LEFT_OUT) & set(parts)) or any(part.startswith("config-") for part in parts)

"""Further releases of the frozen app, without freezing again.

A release that changes nothing but its version differs from the one before it in one module and in `copy.json`:
`app_test.py` freezes a second time and compares. So a version here is a copy in which these two were changed.
"""

import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "app"))

from archive import write
from stamp import stamp

import gogrid
from updates.client.layout import COPY_FILE

ROOT = Path(__file__).parents[2]
VERSION_MODULE = Path("_internal/gogrid/__init__.pyc")
_QUICK = 1


def raised(by: int) -> str:
    """This version with its last digit raised, so that it stays as long as it is."""
    version = gogrid.__version__
    return version[:-1] + str((int(version[-1]) + by) % 10)


def release_of(app: Path, target: Path, root_keys: Path, seq: int) -> Path:
    """A copy of a frozen app that says it is release `seq`, for these root keys; the first keeps its own version."""
    shutil.copytree(app, target, symlinks=True)
    stamp(target, "stable", seq, root_keys)
    version = raised(seq - 1)
    module = target / VERSION_MODULE
    code = module.read_bytes()
    assert code.count(gogrid.__version__.encode()) == 1
    module.write_bytes(code.replace(gogrid.__version__.encode(), version.encode()))
    said = target / COPY_FILE
    said.write_text(json.dumps(json.loads(said.read_text()) | {"version": version}))
    return target


def crash(app: Path) -> None:
    """A module that every start needs was cut short."""
    module = app / "_internal/tray/app/run.pyc"
    module.write_bytes(module.read_bytes()[:200])


def packed(app: Path, target: Path) -> Path:
    """The update archive, made quickly."""
    target.parent.mkdir(parents=True, exist_ok=True)
    write(app, target, _QUICK)
    return target

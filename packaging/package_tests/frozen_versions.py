"""Further releases of the frozen app, without freezing again.

A release that changes nothing but its version differs from the one before it in one module and in `copy.json`:
`app_test.py` freezes a second time and compares. So a version here is a copy in which these two were changed.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "app"))
sys.path.insert(0, str(Path(__file__).parent))

from archive import write
from publisher_desk import Desk
from stamp import stamp

import gogrid
from runner.engine_pack.find import this_python
from updates.client.layout import COPY_FILE
from updates.engine_pack.system import this_system

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


def signed_release(
    app: Path, desk: Desk, folder: Path, seq: int, change: Callable[[Path], None] = lambda app: None
) -> Path:
    """A release folder with the update archive of release `seq`, quickly packed.

    Args:
        change: what else is different in it, given its programs' folder.
    """
    target, version = this_system(), raised(seq - 1)
    copy = release_of(app, folder / f"app-{seq}", desk.root_keys, seq)
    change(copy)
    archive = folder / f"gogrid-{version}-{target}.zip"
    write(copy, archive, _QUICK)
    shutil.rmtree(copy)
    return desk.signed(f"r{seq}", f"{target}={archive},python={this_python()}", seq=seq, version=version)

"""Which engine packages are installed, without importing them: torch stays out of the runner's process."""

import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from runner.probes.base import EngineBuild

_CUDA = re.compile(r"^cuda\b[^=\n]*=\s*['\"]", re.MULTILINE)


def probe_engine(site: tuple[Path, ...] = ()) -> EngineBuild:
    """Args: site: folders of packages that executors see besides this program's own."""
    path = [*sys.path, *map(str, site)]
    found = {name: PathFinder.find_spec(name, path) for name in ("torch", "transformers", "safetensors")}
    missing = [name for name, spec in found.items() if spec is None]
    if missing:
        return EngineBuild(False, False, f"the engine is not installed ({', '.join(missing)} missing)")
    spec = found["torch"]
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else Path()
    return EngineBuild(True, built_for_cuda(folder))


def built_for_cuda(torch_folder: Path) -> bool:
    """From the line `cuda: … = '12.6'` (or `None`) of torch's own `version.py`."""
    try:
        return _CUDA.search((torch_folder / "version.py").read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False

"""What a script can import here besides the standard library: told in the worker's report and to scripts that miss one.

Only well-known packages are named; others of the environment can be imported, too.
"""

import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

_WELL_KNOWN = ("numpy", "scipy", "pandas", "scikit-learn", "torch", "transformers", "safetensors", "tokenizers")


@cache
def offered(site: tuple[Path, ...] = ()) -> tuple[str, ...]:
    """`numpy 2.4.6`, …: names as on PyPI; empty without the engine's environment.

    Args:
        site: folders of packages that scripts see besides this program's own.
    """
    found: dict[str, str] = {}
    for each in distributions(path=[*sys.path, *map(str, site)]):
        found.setdefault(each.metadata["Name"].lower(), each.version)
    return tuple(f"{name} {found[name]}" for name in _WELL_KNOWN if name in found)

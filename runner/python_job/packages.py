"""What a script can import here besides the standard library: told in the worker's report and to scripts that miss one.

Only well-known packages are named; others of the environment can be imported, too.
"""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

_WELL_KNOWN = ("numpy", "scipy", "pandas", "scikit-learn", "torch", "transformers", "safetensors", "tokenizers")


@cache
def offered() -> tuple[str, ...]:
    """`numpy 2.4.6`, …: names as on PyPI; empty without the engine's environment."""
    found = []
    for name in _WELL_KNOWN:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return tuple(found)

"""NVIDIA's management library: its Python package, loaded here and nowhere else, where it is installed.

Each probe says as a `Protocol` what it uses of it. The driver below it may be missing all the same.
"""

from types import ModuleType


def load_nvml() -> ModuleType | None:
    """None: the package is not installed."""
    try:
        import pynvml
    except ImportError:
        return None
    module: ModuleType = pynvml
    return module

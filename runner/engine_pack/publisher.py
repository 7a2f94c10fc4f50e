"""Whom this program believes about engine packs: the root keys that were built into it."""

import sys
from pathlib import Path

_ROOT_KEYS = "root-keys.json"


def publisher_folder() -> Path | None:
    """The folder of the root keys: beside this program, or beside the Python that runs it; None: there are none."""
    place = Path(sys.executable).parent
    return place if (place / _ROOT_KEYS).is_file() else None

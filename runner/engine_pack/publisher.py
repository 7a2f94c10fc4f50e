"""Whom this program believes about engine packs: the root keys that were built into it."""

import sys
from pathlib import Path

_ROOT_KEYS = "root-keys.json"


def publisher_folder() -> Path | None:
    """The folder of a frozen program's root keys; None: it has none, or runs from source."""
    place = Path(sys.executable).parent
    return place if getattr(sys, "frozen", False) and (place / _ROOT_KEYS).is_file() else None

"""How this program starts its others: each as a process of its own, which can be killed and shares no memory.

From source they are modules of this Python; a frozen program has them lying beside it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path


def runner_command(arguments: Sequence[str]) -> tuple[str, ...]:
    return (*_program("gogrid-runner", "runner"), *arguments)


def window_command(arguments: Sequence[str]) -> tuple[str, ...]:
    return (*_program("gogrid-window", "tray.window"), *arguments)


def icon_command() -> tuple[str, ...]:
    return _program("gogrid-icon", "tray.icon")


def _program(name: str, module: str) -> tuple[str, ...]:
    if getattr(sys, "frozen", False):
        return (str(Path(sys.executable).with_name(name + Path(sys.executable).suffix)),)
    # -P: the folder this was started in is no place to import from.
    return (sys.executable, "-P", "-m", module)

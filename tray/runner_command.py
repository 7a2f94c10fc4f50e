"""How this program starts the runner: as a process of its own, which can be killed and shares no memory."""

import sys
from collections.abc import Sequence


def runner_command(arguments: Sequence[str]) -> tuple[str, ...]:
    # -P: the folder this was started in is no place to import from.
    return (sys.executable, "-P", "-m", "runner", *arguments)

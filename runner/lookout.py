"""Looks at a few files again and again, in a thread of its own: a file without news costs the event loop nothing.

Promises: a change is seen within `EVERY_S`; a disk that hangs holds up nobody but that thread, and it can be asked
whether it does.
"""

import math
import threading
import time
from collections.abc import Callable

from runner.settings_file import FileStamp

EVERY_S = 0.9


class Lookout:
    """Use `until_changed` from one thread at a time, the rest from any."""

    def __init__(
        self, *files: FileStamp, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._files, self._every_s, self._clock = files, every_s, clock
        self._look_began = math.inf

    def until_changed(self, stop: threading.Event) -> tuple[bool, ...]:
        """Which of the files have changed since the last look. Blocks until one has, or `stop` is set."""
        changed: tuple[bool, ...] = (False,) * len(self._files)
        while not any(changed) and not stop.wait(self._every_s):
            self._look_began = self._clock()
            changed = tuple(file.changed() for file in self._files)
            self._look_began = math.inf
        return changed

    def hangs(self, longest_s: float) -> bool:
        """Whether the look under way has not come back for so long."""
        return self._clock() - self._look_began >= longest_s

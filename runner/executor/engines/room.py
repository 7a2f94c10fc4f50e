"""So much more memory and no more, while something runs whose single steps cannot be watched.

Promises: within, an allocation that would take this process's address space more than `bytes` beyond what it had at
the start raises `MemoryError`, in this thread or another; afterwards the limit is what it was. Only Linux tells and
limits an address space; elsewhere this does nothing, and what the sandbox as a whole may use has to do.
"""

import sys
from pathlib import Path
from types import TracebackType

if sys.platform == "linux":
    import resource

    class Room:
        def __init__(self, size: int) -> None:
            """Args: size: bytes."""
            self._size = size
            self._before = resource.getrlimit(resource.RLIMIT_AS)

        def __enter__(self) -> None:
            now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            soft, hard = self._before
            limits = [limit for limit in (soft, hard, now + self._size) if limit != resource.RLIM_INFINITY]
            resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            resource.setrlimit(resource.RLIMIT_AS, self._before)

else:

    class Room:
        def __init__(self, size: int) -> None:
            """Args: size: bytes."""

        def __enter__(self) -> None:
            pass

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            pass

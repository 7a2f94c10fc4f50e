"""What the launcher tells `inside.py` to lay on itself before any other code runs: resource limits and Landlock paths.

One line of text, because it crosses into the sandbox as an argument. Imported inside, so it needs the standard
library only and stays light.
"""

import resource
from typing import NamedTuple


class Orders(NamedTuple):
    processes: int
    open_files: int
    memory_bytes: int
    """Address space; -1: no limit."""
    cpu_seconds: int
    """Of each process; -1: no limit. One second later it is killed."""
    file_bytes: int
    """Of each file written; -1: no limit."""
    readable: tuple[str, ...]
    writable: tuple[str, ...]

    def encode(self) -> str:
        numbers = ",".join(str(number) for number in self[:5])
        return "|".join((numbers, ":".join(self.readable), ":".join(self.writable)))

    def limit_self(self) -> None:
        """Set the limits on this process and all it will start. They hold within the sandbox's own user namespace."""
        never = resource.RLIM_INFINITY
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_NPROC, self.processes)
        _limit(resource.RLIMIT_NOFILE, self.open_files)
        _limit(resource.RLIMIT_FSIZE, self.file_bytes)
        _limit(resource.RLIMIT_AS, self.memory_bytes)
        if self.cpu_seconds != never:
            _limit(resource.RLIMIT_CPU, self.cpu_seconds, self.cpu_seconds + 1)


def decode_orders(text: str) -> Orders:
    """The orders that `encode` wrote. Raises ValueError on anything else."""
    numbers, readable, writable = text.split("|")
    processes, open_files, memory_bytes, cpu_seconds, file_bytes = map(int, numbers.split(","))
    return Orders(
        processes,
        open_files,
        memory_bytes,
        cpu_seconds,
        file_bytes,
        tuple(readable.split(":")),
        tuple(writable.split(":")),
    )


def _limit(which: int, soft: int, hard: int | None = None) -> None:
    """Lower a limit; an inherited one that is lower still stays."""
    ceiling = resource.getrlimit(which)[1]
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft = ceiling if soft == resource.RLIM_INFINITY else min(soft, ceiling)
        hard = ceiling if hard == resource.RLIM_INFINITY else min(hard, ceiling)
    resource.setrlimit(which, (soft, hard))

"""What the launcher tells `inside.py` to lay on itself before any other code runs: resource limits and Landlock paths.

One line of text, which crosses into the sandbox as an argument or, with what the module is given, over standard input
(`spoken`). Imported inside, so it needs the standard library only and stays light: `typing` or `dataclasses` would cost
every job several milliseconds.
"""

import resource

LENGTH_DIGITS = 8
"""Hexadecimal."""


class Orders:
    """Compares by what it says.

    Args:
        memory_bytes: address space of each process; -1: no limit.
        cpu_seconds: of each process; -1: no limit. One second later it is killed.
        file_bytes: of each file written; -1: no limit.
        landlock: whether Landlock enforces `readable` and `writable`; only a GPU that does not work so is let off.
    """

    def __init__(
        self,
        processes: int,
        open_files: int,
        memory_bytes: int,
        cpu_seconds: int,
        file_bytes: int,
        readable: tuple[str, ...],
        writable: tuple[str, ...],
        *,
        landlock: bool = True,
    ) -> None:
        self.processes = processes
        self.open_files = open_files
        self.memory_bytes = memory_bytes
        self.cpu_seconds = cpu_seconds
        self.file_bytes = file_bytes
        self.readable = readable
        self.writable = writable
        self.landlock = landlock

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Orders) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.encode())

    def __repr__(self) -> str:
        return f"Orders({self.encode()!r})"

    def encode(self) -> str:
        limits = (self.processes, self.open_files, self.memory_bytes, self.cpu_seconds, self.file_bytes)
        numbers = ",".join(str(number) for number in (*limits, int(self.landlock)))
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
    processes, open_files, memory_bytes, cpu_seconds, file_bytes, landlock = map(int, numbers.split(","))
    return Orders(
        processes,
        open_files,
        memory_bytes,
        cpu_seconds,
        file_bytes,
        tuple(readable.split(":")),
        tuple(writable.split(":")),
        landlock=landlock != 0,
    )


def spoken(orders: Orders, arguments: tuple[str, ...]) -> bytes:
    """The orders and the module's arguments in one message: `LENGTH_DIGITS` of length, and what `heard` takes."""
    body = b"\0".join(word.encode("utf-8", "surrogateescape") for word in (orders.encode(), *arguments))
    return f"{len(body):0{LENGTH_DIGITS}x}".encode() + body


def heard(body: bytes) -> tuple[Orders, list[str]]:
    """Raises ValueError on what `spoken` did not make."""
    orders, *arguments = body.decode("utf-8", "surrogateescape").split("\0")
    return decode_orders(orders), arguments


def _limit(which: int, soft: int, hard: int | None = None) -> None:
    """Lower a limit; an inherited one that is lower still stays."""
    ceiling = resource.getrlimit(which)[1]
    hard = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft = ceiling if soft == resource.RLIM_INFINITY else min(soft, ceiling)
        hard = ceiling if hard == resource.RLIM_INFINITY else min(hard, ceiling)
    resource.setrlimit(which, (soft, hard))

"""A disk that remembers what was flushed, so that its power can be cut.

It holds named files in memory. Each change waits until its file is flushed; after a cut a file is what was flushed plus
any of the changes that waited: none, the first few, a random choice, the last one torn at a sector. A file or removal
that was never flushed may or may not be there. No clock; all chance comes from the given generator.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

SECTOR = 512
Change = Callable[[bytearray], None]


class CutError(Exception):
    """The power is off: nothing reaches the disk any more."""


@dataclass
class DiskFile:
    now: bytearray = field(default_factory=bytearray)
    flushed: bytes | None = None
    """None: the file would not be there."""
    waiting: list[tuple[int, bytes]] = field(default_factory=list)
    """(offset, data) of writes; (size, b"") of truncations."""

    def write(self, offset: int, data: bytes) -> None:
        apply(self.now, (offset, data))
        self.waiting.append((offset, data))

    def truncate(self, size: int) -> None:
        apply(self.now, (size, b""))
        self.waiting.append((size, b""))

    def flush(self) -> None:
        self.flushed = bytes(self.now)
        self.waiting.clear()


@dataclass
class Disk:
    """`before(step, what, name)` is called ahead of every change and flush and may raise to let it fail."""

    files: dict[str, DiskFile] = field(default_factory=dict)
    steps: int = 0
    before: Callable[[int, str, str], None] = lambda step, what, name: None
    journal: list[str] = field(default_factory=list)
    """What was done, in order: `write x.db-wal`."""

    def step(self, what: str, name: str) -> None:
        self.steps += 1
        self.before(self.steps, what, name)
        self.journal.append(f"{what} {name}")

    def put(self, name: str, data: bytes) -> None:
        self.files[name] = DiskFile(bytearray(data), data)

    def after_cut(self, chance: random.Random) -> dict[str, bytes]:
        """The files as they are when the power is back."""
        found = {}
        for name, file in self.files.items():
            survived = _some_of(file.waiting, chance)
            if file.flushed is None and (not survived or chance.random() < 0.5):
                continue
            content = bytearray(file.flushed or b"")
            for change in survived:
                apply(content, change)
            found[name] = bytes(content)
        return found


def apply(content: bytearray, change: tuple[int, bytes]) -> None:
    offset, data = change
    if not data:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _some_of(waiting: list[tuple[int, bytes]], chance: random.Random) -> list[tuple[int, bytes]]:
    how = chance.choice(("none", "first", "any", "any", "torn", "all"))
    if how == "none":
        return []
    if how == "all":
        return waiting
    if how == "any":
        return [change for change in waiting if chance.random() < 0.5]
    first = waiting[: chance.randint(0, len(waiting))]
    if how == "torn" and first:
        offset, data = first[-1]
        first[-1] = (offset, data[: SECTOR * chance.randint(0, len(data) // SECTOR)] or data[:1])
    return first

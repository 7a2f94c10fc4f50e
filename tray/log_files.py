"""Reading what the app's processes have logged: `worker.log`, `tray.log`, `window.log`, each with its rotated files.

Promises: lines come in the order of their times over all files; one without a time of its own stays behind the line it
belongs to; following goes on over a rotation without losing or repeating a line; no file is held open, so that it can
be rotated on Windows too.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROTATED = 5
"""So many older files are kept of each."""
_LONGEST = 1 << 16
"""Bytes that are held back until their line ends."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?")


@dataclass(frozen=True, slots=True)
class Line:
    log: str
    """Which process: `worker`, `tray` or `window`."""
    text: str


def tail(folder: Path, count: int) -> list[Line]:
    """The last `count` lines of all files together; none where there is no folder yet."""
    found: list[tuple[str, int, Line]] = []
    for log in _logs(folder):
        at = ""
        lines = _last_lines(folder, log, count)
        for number, text in enumerate(lines):
            seen = _TIME.match(text)
            at = seen[0].replace("T", " ").replace(".", ",") if seen is not None else at
            found.append((at, number, Line(log, text)))
    found.sort(key=lambda entry: entry[0])
    return [line for _, _, line in found[len(found) - count if count < len(found) else 0 :]]


class Follower:
    """Everything that is logged from the moment it is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[str, tuple[int, int]] = {}
        """Of each log: which file was read last (its inode), and how far."""
        self._rests: dict[str, bytes] = {}
        for log in _logs(folder):
            found = (folder / f"{log}.log").stat()
            self._places[log] = (found.st_ino, found.st_size)

    def poll(self) -> list[Line]:
        """What is new, whole lines only."""
        return [Line(log, text) for log in _logs(self._folder) for text in self._new(log)]

    def _new(self, log: str) -> Iterator[str]:
        data = self._rests.pop(log, b"") + b"".join(self._read(log))
        *whole, rest = data.split(b"\n")
        if len(rest) > _LONGEST:
            whole, rest = [*whole, rest], b""
        if rest:
            self._rests[log] = rest
        for line in whole:
            yield _text(line)

    def _read(self, log: str) -> Iterator[bytes]:
        inode, offset = self._places.get(log, (0, 0))
        now = self._folder / f"{log}.log"
        files = [now, *(self._folder / f"{log}.log.{number}" for number in range(1, ROTATED + 1))]
        there = [(path, found) for path in files if (found := _stat(path)) is not None]
        if not there:
            return
        at = next((place for place, (_, found) in enumerate(there) if found[0] == inode), None)
        if at is None:
            at, offset = (len(there) - 1 if inode else 0), 0
        if there[at][1][1] < offset:
            offset = 0
        for path, (number, _) in reversed(there[: at + 1]):
            data = _bytes_from(path, offset)
            self._places[log] = (number, offset + len(data))
            offset = 0
            yield data


def _logs(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.log") if path.is_file())


def _last_lines(folder: Path, log: str, count: int) -> list[str]:
    """The newest file first, older ones only as far as they are needed."""
    lines: list[str] = []
    for name in (f"{log}.log", *(f"{log}.log.{number}" for number in range(1, ROTATED + 1))):
        path = folder / name
        if len(lines) >= count or not path.is_file():
            break
        lines = [_text(line) for line in _bytes_from(path, 0).splitlines()] + lines
    return lines[len(lines) - count if count < len(lines) else 0 :]


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size


def _bytes_from(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except OSError:
        return b""


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").rstrip("\r")

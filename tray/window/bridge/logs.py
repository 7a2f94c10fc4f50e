"""The ends of the log files, for the page to show and follow.

Promises: reads files of the log folder and nothing else, whatever name is asked for; one piece is bounded; a file that
was rotated away meanwhile begins anew; lines end in a line feed, whatever system wrote them.
"""

import os
from pathlib import Path

from gogrid.errors import GoGridError
from tray.window.bridge.calls import LogPiece

PIECE_BYTES = 96 << 10
"""Of one piece; the page asks again until there is no more."""


class NoSuchLogError(GoGridError):
    """The page asked for a file that is not a log."""


class LogFiles:
    """Implements `doors.Logs`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, file: str, after: int) -> LogPiece:
        files = self._files()
        if not file and not files:
            return LogPiece(files=(), file="", text="", next=0, anew=False)
        name = file or files[0]
        if name not in files:
            raise NoSuchLogError(f"There is no log {name[:80]!r} any more; choose another one.")
        try:
            return self._piece(files, name, after)
        except OSError as error:
            raise NoSuchLogError(f"The log {name} cannot be read: {error.strerror}.") from error

    def _piece(self, files: tuple[str, ...], name: str, after: int) -> LogPiece:
        with (self._folder / name).open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            anew = after > size
            begin = max(0, size - PIECE_BYTES) if after < 0 or anew else after
            opened.seek(begin)
            data = opened.read(PIECE_BYTES)
        if begin > 0 and (after < 0 or anew):
            data = data[data.find(b"\n") + 1 :]  # not half a line
        whole = data.rfind(b"\n") + 1
        if whole == 0 and len(data) == PIECE_BYTES:
            whole = len(data)
        skipped = min(size, begin + PIECE_BYTES) - begin - len(data)
        return LogPiece(
            files=files,
            file=name,
            text=data[:whole].replace(b"\r\n", b"\n").decode("utf-8", "replace"),
            next=begin + skipped + whole,
            anew=anew,
        )

    def _files(self) -> tuple[str, ...]:
        """Names: the worker's first, older ones last."""
        try:
            with os.scandir(self._folder) as entries:
                names = [
                    entry.name for entry in entries if ".log" in entry.name and entry.is_file(follow_symlinks=False)
                ]
        except OSError:
            return ()
        return tuple(sorted(names, key=lambda name: (not name.endswith(".log"), name != "worker.log", name)))

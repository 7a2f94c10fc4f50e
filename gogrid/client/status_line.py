"""A sentence for a person who waits, on a terminal: it moves as its words do, and is taken away when something comes.

Promises: what stands on the terminal stays as it is, also a line that has begun and goes on behind the sentence later;
nothing is shown any more once it has ended. It needs a terminal that is told where to write (`sentences_can_go`).
"""

import os
import sys
import threading
import unicodedata
from collections.abc import Callable, Mapping
from typing import TextIO

_KEEP, _BACK_AND_CLEAR = "\x1b7", "\x1b8\x1b[J"
_ONE_DOWN = "\x1bD"
"""In the same column; at the lower edge everything moves up."""
_USUAL_COLUMNS = 80


def sentences_can_go(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether this is a terminal that can take away again what was written."""
    return sys.platform != "win32" and stream.isatty() and environment.get("TERM", "dumb") != "dumb"


def columns_of(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        return _USUAL_COLUMNS


class StatusLine:
    """Use from any thread."""

    def __init__(self, stream: TextIO, columns: Callable[[], int]) -> None:
        """Args: columns: how wide the terminal is now."""
        self._stream, self._columns = stream, columns
        self._lock = threading.Lock()
        self._shown = self._over = False

    def show(self, sentence: str, line: str) -> None:
        """In place of what it said before; nothing for an empty one.

        Args:
            sentence: holds no control characters.
            line: what stands on the cursor's line already; the sentence begins below.
        """
        with self._lock:
            if self._over or not (sentence or self._shown):
                return
            gone = self._taken_away()
            self._shown = bool(sentence)
            self._stream.write(gone + (self._written(sentence, line) if sentence else ""))
            self._stream.flush()

    def clear(self) -> None:
        """Before anything else is written."""
        self.show("", "")

    def end(self) -> None:
        """Take it away for good."""
        self.clear()
        with self._lock:
            self._over = True

    def _taken_away(self) -> str:
        return _BACK_AND_CLEAR if self._shown else ""

    def _written(self, sentence: str, line: str) -> str:
        """Room is made first, so that the place that is kept does not move when the sentence reaches the lower edge."""
        columns = max(1, self._columns())
        full = bool(line) and _cells(line) % columns == 0
        line_feed = bool(line) and not full
        below = -(-_cells(sentence) // columns) - (not line_feed)
        room = _ONE_DOWN * below + (f"\x1b[{below}A" if below else "")
        # Behind a full row the cursor waits at its end for the next character: let it go to the next row now.
        return (" \b" if full else "") + room + _KEEP + ("\r\n" if line_feed else "") + sentence


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)

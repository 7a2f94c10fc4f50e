"""The runner's log on its standard error, without ever waiting for whoever reads it.

Promises: a reader that stopped or is slow holds up nothing but the lines; what does not fit is dropped, and as soon as
there is room it is said how many lines that were; at the end what is left is written, for a moment.
"""

import logging
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_KEPT = 2000
"""Records that wait at most."""
_LONGEST = 32 << 10
"""Characters of one record: a trace is cut at its beginning."""
_LAST_WORDS_S = 2.0


class LineQueue(logging.Handler):
    def __init__(self, descriptor: int, kept: int = _KEPT) -> None:
        """Args: `descriptor` is written to as it is, past every buffer and lock of Python's streams."""
        super().__init__()
        self._descriptor = descriptor
        self._waiting: queue.Queue[str | None] = queue.Queue(kept)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write_on, name="log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held."""
        try:
            words = self.format(record)[-_LONGEST:]
        except Exception:  # noqa: BLE001  # as logging itself does: a line that cannot be made ends nothing
            words = f"a line of {record.name} could not be written"
        if self._dropped and self._put(f"{self._dropped} lines of this log were dropped: nobody took them in time"):
            self._dropped = 0
        if not self._put(words):
            self._dropped += 1

    def end(self, longest_s: float = _LAST_WORDS_S) -> None:
        """Write what is left, if it can be within that time."""
        try:
            self._waiting.put(None, timeout=longest_s)
        except queue.Full:
            return
        self._writer.join(longest_s)

    def _put(self, words: str) -> bool:
        try:
            self._waiting.put_nowait(words)
        except queue.Full:
            return False
        return True

    def _write_on(self) -> None:
        while (words := self._waiting.get()) is not None:
            rest = memoryview(f"{words}\n".encode(errors="backslashreplace"))
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:
                continue  # nobody reads any more; whoever supervises this process ends it


@contextmanager
def logging_to(descriptor: int, level: str) -> Iterator[None]:
    """While inside, everything that is logged goes there."""
    handler = LineQueue(descriptor)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.end()

"""One process's log: lines go to a rotating file of its own and, where there is one, to our standard error.

Promises: a disk that takes no lines is told of in one line, once until it takes them again, and ends nothing.
"""

import logging
import logging.handlers
import sys
import time
from contextlib import suppress
from pathlib import Path

from tray.log_files import ROTATED

_LOG_BYTES = 5 << 20


class RotatingLog:
    def __init__(self, folder: Path, name: str) -> None:
        """Args: `name` of the process: its file is `NAME.log`. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log = logging.Logger(name, logging.INFO)
        handlers: list[logging.Handler] = [_File(folder / f"{name}.log")]
        if sys.stderr is not None:
            handlers.append(_Terminal(sys.stderr))
        for handler in handlers:
            handler.setFormatter(logging.Formatter("%(message)s"))
            self._log.addHandler(handler)

    def line(self, text: str) -> None:
        """As it is."""
        self._log.info("%s", text)

    def say(self, speaker: str, text: str) -> None:
        """As our own words, with the time."""
        self._log.info("%s %s: %s", time.strftime("%Y-%m-%d %H:%M:%S"), speaker, text)

    def close(self) -> None:
        for handler in self._log.handlers:
            with suppress(OSError):  # what the disk did not take is lost, and was told of
                handler.close()


class _File(logging.handlers.RotatingFileHandler):
    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_LOG_BYTES, backupCount=ROTATED, encoding="utf-8", delay=True)
        self._failed = self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        self._failed = False
        super().emit(record)
        if not self._failed:
            self._told = False

    def handleError(self, record: logging.LogRecord) -> None:  # logging's own name
        self._failed = True
        if not self._told and sys.stderr is not None:
            self._told = True
            error = sys.exc_info()[1]
            why = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
            with suppress(OSError, ValueError):
                print(f"gogrid-worker: the log {self.baseFilename} takes no lines now: {why}", file=sys.stderr)


class _Terminal(logging.StreamHandler):  # type: ignore[type-arg]  # at run time it has none
    def handleError(self, record: logging.LogRecord) -> None:  # logging's own name
        """Nobody reads there any more."""

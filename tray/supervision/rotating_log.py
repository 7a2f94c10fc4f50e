"""One process's log: lines go to a rotating file of its own and, where there is one, to our standard error."""

import logging
import logging.handlers
import sys
import time
from pathlib import Path

_LOG_BYTES = 5 << 20
_LOG_FILES = 5


class RotatingLog:
    def __init__(self, folder: Path, name: str) -> None:
        """Args: `name` of the process: its file is `NAME.log`. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log = logging.Logger(name, logging.INFO)
        file = logging.handlers.RotatingFileHandler(
            folder / f"{name}.log", maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8", delay=True
        )
        handlers: list[logging.Handler] = [file]
        if sys.stderr is not None:
            handlers.append(logging.StreamHandler(sys.stderr))
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
            handler.close()

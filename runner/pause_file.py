"""The owner's pause on disk, so that a worker which starts anew stays paused.

Promises: the file is whole at any moment and on the disk before the pause is confirmed. One that cannot be understood
counts as a pause without an end: whoever paused the machine is not surprised by work on it.
"""

import logging
import os
from pathlib import Path

import msgspec

from runner.errors import RunnerError
from runner.holds import OwnerPause

log = logging.getLogger(__name__)


class PauseFile:
    def __init__(self, folder: Path) -> None:
        """`folder`: the worker's state."""
        self._path = folder / "pause.json"

    def load(self, now: float) -> OwnerPause | None:
        """The pause that still holds.

        Args:
            now: Unix seconds.
        """
        try:
            pause = msgspec.json.decode(self._path.read_bytes(), type=OwnerPause)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.error("%s cannot be read (%s): the worker stays paused until `gogrid-worker resume`", self._path, error)
            return OwnerPause("paused by its owner")
        return None if pause.over(now) else pause

    def save(self, pause: OwnerPause | None) -> None:
        """Raises `RunnerError` if it cannot be kept."""
        fresh = self._path.with_suffix(".fresh")
        try:
            if pause is None:
                self._path.unlink(missing_ok=True)
            else:
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                with fresh.open("wb") as file:
                    file.write(msgspec.json.encode(pause))
                    file.flush()
                    os.fsync(file.fileno())
                fresh.replace(self._path)
            _sync(self._path.parent)
        except OSError as error:
            raise RunnerError(f"The pause cannot be kept in {self._path}: {error.strerror or error}.") from error


def _sync(folder: Path) -> None:
    """A new name is on the disk only when its folder is; Windows has no such call and needs none."""
    if os.name == "nt" or not folder.exists():
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

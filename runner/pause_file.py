"""The owner's pause on disk, so that a worker which starts anew stays paused.

Promises: the file is whole at any moment and on the disk before the pause is confirmed. One that cannot be understood
counts as a pause without an end: whoever paused the machine is not surprised by work on it. Only a regular file is
read, and a folder in its place is put aside.
"""

import logging
import secrets
from pathlib import Path

import msgspec

from gogrid.files import flush_folder, write_whole
from gogrid.regular_file import read_regular
from runner.errors import RunnerError
from runner.holds import OwnerPause

log = logging.getLogger(__name__)
_LARGEST = 64 << 10


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
            pause = msgspec.json.decode(read_regular(self._path, _LARGEST), type=OwnerPause)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.error("%s cannot be read (%s): the worker stays paused until `gogrid-worker resume`", self._path, error)
            return OwnerPause("paused by its owner")
        return None if pause.over(now) else pause.tamed(now)

    def save(self, pause: OwnerPause | None) -> None:
        """Raises `RunnerError` if it cannot be kept."""
        try:
            if self._path.is_dir() and not self._path.is_symlink():
                self._put_aside()
            if pause is not None:
                write_whole(self._path, msgspec.json.encode(pause), private=True, replace=True)
            elif self._path.parent.exists():
                self._path.unlink(missing_ok=True)
                flush_folder(self._path.parent)
        except OSError as error:
            raise RunnerError(f"The pause cannot be kept in {self._path}: {error.strerror or error}.") from error

    def _put_aside(self) -> None:
        aside = self._path.with_name(f"{self._path.name}.aside-{secrets.token_hex(4)}")
        self._path.rename(aside)
        log.warning("%s was a folder; it is %s now", self._path, aside.name)

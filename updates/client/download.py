"""Fetch the file of an update: resumable, of bounded size and memory, and checked before it gets its name.

Promises: what lies there without `.unverified` was signed for exactly this release, version and target; a cut transfer
goes on where it stopped; the first byte too many ends it, and so does a server so slow that it would never end; on a
full disk everything that it took is given back, and nothing else has changed. Asked to stop, it waits for no byte and
no hash. Runs in a thread.
"""

import errno
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from updates.client.ask import Place
from updates.client.disk import Step, clear, own_folder, problem_of, rename, unnoticed
from updates.client.errors import DownloadError, NoRoomError, StoppedError
from updates.client.http import Reply, Unreachable, get
from updates.client.pace import LEAST, WINDOW_S, Pace
from updates.errors import Alarm, TrustError
from updates.trust.signatures import Readable
from updates.trust.trusted_state import TrustedState
from updates.trust.verdict import Install, verify_artifact

_MARGIN = 64 << 20
"""Bytes that stay free: a disk filled to the last one hurts everybody on the machine."""
_FLUSHED = 64 << 20
"""Bytes; so many go to the disk at once at most: nobody who wants to stop waits for more."""


@dataclass(frozen=True, slots=True)
class Patience:
    waits_s: tuple[float, ...] = (1.0, 5.0, 15.0, 60.0)
    """Before each further try of a transfer that was cut; one that brought `least` bytes starts them anew."""
    window_s: float = WINDOW_S
    least: int = LEAST
    """Bytes that must come in each `window_s`."""


class Download:
    """One file of one release."""

    def __init__(
        self,
        offer: Install,
        place: Place,
        folder: Path,
        *,
        stop: threading.Event,
        moved: Callable[[int], None] = lambda have: None,
        patience: Patience | None = None,
        step: Step = unnoticed,
    ) -> None:
        """
        Args:
            folder: where it is kept; this user's alone.
            stop: ends it with `StoppedError`; what came stays.
            moved: told how many bytes there are, in the thread that `run` runs in.
        """
        self._offer, self._place, self._folder, self._stop, self._moved = offer, place, folder, stop, moved
        self._patience, self._step = patience or Patience(), step
        self._size = offer.artifact.size

    @property
    def ready(self) -> Path:
        return self._folder / f"{self._offer.artifact.sha256}.{self._offer.artifact.format}"

    @property
    def begun(self) -> bool:
        """Some of it is there already, from whoever."""
        return self.unverified.exists() or self.ready.exists()

    @property
    def unverified(self) -> Path:
        return self.ready.with_name(f"{self.ready.name}.unverified")

    def run(self, state: Callable[[], TrustedState]) -> Path:
        """The verified file.

        Args:
            state: asked when it is there; what was revoked meanwhile counts.

        Raises:
            DownloadError: it did not come; the next try goes on behind what is there.
            NoRoomError: the disk is full.
            TrustError: other bytes came; they are gone.
            StoppedError: it was asked to; what came stays.
        """
        try:
            own_folder(self._folder)
            _tidy(self._folder, keep=(self.ready.name, self.unverified.name))
            if self.ready.exists():
                rename(self.ready, self.unverified)  # whoever cut us short may have been the disk: it is read again
            self._require_room()
            self._fetch()
            self._verify(state())
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise DownloadError(f"The update cannot be stored: {problem_of(error)}.") from error
            self.unverified.unlink(missing_ok=True)
            raise NoRoomError("The disk is full, so the update was not downloaded; it is tried again later.") from error
        return self.ready

    def _require_room(self) -> None:
        missing = self._size - self._have()
        free = shutil.disk_usage(self._folder).free
        if missing > 0 and free < missing + _MARGIN:
            needed = (missing + _MARGIN) >> 20
            raise NoRoomError(f"The update needs {needed} MB of free disk, there are {free >> 20} MB; free some.")

    def _have(self) -> int:
        try:
            return self.unverified.stat().st_size
        except FileNotFoundError:
            return 0

    def _fetch(self) -> None:
        waits = iter(self._patience.waits_s)
        while (have := self._have()) != self._size:
            try:
                self._attempt(have if have < self._size else 0)
                problem = "it ended early"
            except Unreachable as error:
                problem = str(error)
            if self._have() >= have + self._patience.least:
                waits = iter(self._patience.waits_s)
            if self._have() == self._size:
                break
            wait = next(waits, None)
            if wait is None:
                raise DownloadError(f"The update cannot be downloaded: {problem}; the next try goes on from there.")
            if self._stop.wait(wait):
                raise StoppedError("The download was stopped.")
        self._step("downloaded")

    def _attempt(self, have: int) -> None:
        url = self._place.endpoint.file(self._offer.artifact.url)
        headers = {"range": f"bytes={have}-"} if have else {}
        pace = Pace(time.monotonic(), self._patience.window_s, self._patience.least)
        with get(url, self._place.trust, pace, headers, self._stop.is_set) as reply:
            status = reply.status
            if status == 416:
                self.unverified.unlink(missing_ok=True)
                raise Unreachable("the rest of it is not there any more")
            if status not in (200, 206):
                raise DownloadError(f"The update cannot be downloaded: {url.split('/files/')[0]} answers {status}.")
            resumed = status == 206 and have > 0 and reply.content_range.startswith(f"bytes {have}-")
            if status == 206 and not resumed:
                raise Unreachable("another part of it came than was asked for")
            self._receive(reply, have if resumed else 0)

    def _receive(self, reply: Reply, have: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if have else os.O_TRUNC) | getattr(os, "O_BINARY", 0)
        with open(os.open(self.unverified, flags, 0o600), "wb", buffering=0) as file:
            for piece in reply.pieces:
                if self._stop.is_set():
                    raise StoppedError("The download was stopped.")
                have += len(piece)
                if have > self._size:
                    file.close()
                    self.unverified.unlink()
                    text = f"More than the {self._size} bytes that the release says came; they were thrown away."
                    raise TrustError(Alarm.MIXED, text)
                _write_all(file.fileno(), piece)
                if have // _FLUSHED != (have - len(piece)) // _FLUSHED:
                    os.fsync(file.fileno())
                self._moved(have)

    def _verify(self, state: TrustedState) -> None:
        with self.unverified.open("rb+") as file:
            os.fsync(file.fileno())
            try:
                verify_artifact(_Stoppable(file, self._stop), self._offer, state)
            except TrustError:
                file.close()
                self.unverified.unlink()
                raise
        self._step("verified")
        rename(self.unverified, self.ready)
        self._step("named")


class _Stoppable:
    """A file whose reader can be asked to end."""

    def __init__(self, source: Readable, stop: threading.Event) -> None:
        self._source, self._stop = source, stop

    def read(self, size: int = -1, /) -> bytes:
        if self._stop.is_set():
            raise StoppedError("The check of the download was stopped.")
        return self._source.read(size)


def _write_all(handle: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(handle, view) :]


def _tidy(folder: Path, keep: tuple[str, ...]) -> None:
    """Take away what is left of other releases' downloads, and what is no file of ours."""
    for path in folder.iterdir():
        if path.name not in keep or not stat.S_ISREG(path.lstat().st_mode):
            clear(path)

"""Where versions of the program lie, and what is remembered of updates.

    DATA/app/
      trusted-CHANNEL.json     what was seen, what is installed, what failed: the one file that decides what starts
      install-id               random, never sent: this machine's turn in a rollout
      note                     what became of the last update, for its owner and the coordinator
      downloads/               `….unverified` while it comes, without that when its signature was checked
      versions/SEQ/            one version, as its archive had it; complete if it is there
      versions/.SEQ.new, .SEQ.old   being unpacked, being removed

A version has its programs at the top, and beside them `copy.json`, which says what it is. The copy that an installer
put elsewhere has both as well, and `root-keys.json`.
"""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from updates.client.disk import Step, unnoticed, write_whole
from updates.client.errors import CopyError
from updates.errors import StateFileError
from updates.trust.anchors import Anchors, parse_anchors
from updates.trust.documents import Name, Sequence, Target, Version
from updates.trust.trusted_state import LARGEST_STATE, TrustedState, decode_state, encode_state

COPY_FILE = "copy.json"
ANCHORS_FILE = "root-keys.json"
_LARGEST_COPY = 16 << 10
_LONGEST_NOTE = 300


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """`copy.json`: what a built copy of the program is."""

    app: Name
    channel: Name
    target: Target
    version: Version
    seq: Sequence
    """The `release_seq` it was built as."""
    python_abi: str = ""


@dataclass(frozen=True, slots=True)
class Installation:
    """The copy that runs now, and the folder where newer ones lie."""

    folder: "AppFolder"
    copy: Copy
    place: Path
    """The folder in which this copy's programs are."""

    @property
    def anchors(self) -> Anchors:
        """Raises `CopyError`: it carries no usable root keys."""
        try:
            return parse_anchors((self.place / ANCHORS_FILE).read_bytes())
        except OSError as error:
            raise CopyError(f"This copy of GoGrid has no {ANCHORS_FILE}; install it anew to get updates.") from error

    def load(self) -> TrustedState:
        """What is remembered. Raises `StateFileError`."""
        return self.folder.load(self.copy.app, self.copy.channel)

    def change(self, alter: Callable[[TrustedState], TrustedState], step: Step = unnoticed) -> TrustedState:
        """Remember something else, on the disk when this returns; one thread at a time.

        Raises:
            StateFileError, OSError: then nothing has changed.
        """
        with self.folder.writing:
            before = self.load()
            state = alter(before)
            if state != before:
                self.folder.save(state, step)
            return state


class AppFolder:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.writing = threading.Lock()

    @property
    def versions(self) -> Path:
        return self.root / "versions"

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def lock(self) -> Path:
        """Held by who decides what starts, and watches it."""
        return self.root / "start.lock"

    def version(self, seq: int) -> Path:
        return self.versions / str(seq)

    def present(self) -> frozenset[int]:
        """The versions that are there, all of them complete."""
        try:
            names = [path.name for path in self.versions.iterdir()]
        except OSError:
            return frozenset()
        return frozenset(int(name) for name in names if name.isascii() and name.isdecimal())

    def load(self, app: str, channel: str) -> TrustedState:
        """Raises `StateFileError`: a person must look at it."""
        path = self._state(channel)
        try:
            if path.stat().st_size > LARGEST_STATE:
                raise StateFileError(f"{path} is too large to be what is known about updates; remove it to start anew.")
            return decode_state(path.read_bytes())
        except FileNotFoundError:
            return TrustedState(app=app, channel=channel)
        except OSError as error:
            raise StateFileError(f"{path} cannot be read: {error.strerror or error}.") from error

    def save(self, state: TrustedState, step: Step = unnoticed) -> None:
        """On the disk when this returns. Raises `OSError`; then it is as it was."""
        write_whole(self._state(state.channel), encode_state(state), step)

    def install_id(self) -> str:
        """Made once. Raises `OSError`."""
        path = self.root / "install-id"
        try:
            return path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            fresh = secrets.token_hex(16)
            write_whole(path, fresh.encode())
            return fresh

    def note(self) -> str:
        """What became of the last update; empty: nothing that somebody should know."""
        try:
            return (self.root / "note").read_text(encoding="utf-8", errors="replace")[:_LONGEST_NOTE]
        except OSError:
            return ""

    def write_note(self, sentence: str) -> None:
        """Raises `OSError`."""
        if sentence != self.note():
            write_whole(self.root / "note", sentence[:_LONGEST_NOTE].encode())

    def _state(self, channel: str) -> Path:
        return self.root / f"trusted-{channel}.json"


def read_copy(place: Path) -> Copy:
    """Raises `CopyError`: what lies there is no copy that was built for a release."""
    path = place / COPY_FILE
    try:
        if path.stat().st_size > _LARGEST_COPY:
            raise CopyError(f"{path} is too large.")
        return msgspec.json.decode(path.read_bytes(), type=Copy)
    except OSError as error:
        raise CopyError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CopyError(f"{path} does not say what this copy is: {error}.") from None

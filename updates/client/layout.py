"""Where versions of the program lie, and what is remembered of updates.

    DATA/app/
      trusted-CHANNEL.json     what was seen, what is installed, what failed: the one file that decides what starts
      install-id               random, never sent: this machine's turn in a rollout
      note                     what became of the last update, for its owner and the coordinator
      start.lock               held by whoever decides what starts, and watches it
      state.lock               held for a moment by whoever changes `trusted-CHANNEL.json`
      update.lock              held by whoever fetches, unpacks or takes away versions
      downloads/               `….unverified` while it comes, without that when its signature was checked
      versions/SEQ/            one version, as its archive had it; complete if it is there
      versions/.SEQ.new, .SEQ.old   being unpacked, being removed

A version has its programs at the top, and beside them `copy.json`, which says what it is. The copy that an installer
put elsewhere has both as well, and `root-keys.json`.
"""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from updates.client.disk import Step, clear, only_one, unnoticed, write_whole
from updates.client.errors import BusyError, CopyError
from updates.errors import StateFileError
from updates.trust.anchors import Anchors, parse_anchors
from updates.trust.documents import Moment, Name, Sequence, Target, Version
from updates.trust.trusted_state import LARGEST_STATE, TrustedState, decode_state, encode_state

COPY_FILE = "copy.json"
ANCHORS_FILE = "root-keys.json"
_LARGEST_COPY = 16 << 10
_LONGEST_NOTE = 300
_LONGEST_ID = 64
_CHANGED_WITHIN_S = 10.0
"""So long another program is waited for that changes what is remembered; it takes milliseconds."""
_INSTALL_ID = re.compile(r"[0-9a-f]{32}")
_SEQ = re.compile(r"[1-9][0-9]{0,15}")


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """`copy.json`: what a built copy of the program is."""

    app: Name
    channel: Name
    target: Target
    version: Version
    seq: Sequence
    """The `release_seq` it was built as."""
    python_abi: str = ""
    built: Moment | None = None
    """So long somebody who never hears a word about updates has waited for one."""

    @property
    def built_at(self) -> float:
        """Seconds since 1970; 0: it does not say."""
        return self.built.timestamp() if self.built is not None else 0.0


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
        """Remember something else, on the disk when this returns; one thread of one program at a time.

        Raises:
            BusyError, StateFileError, OSError: then nothing has changed.
        """
        with self.folder.changing():
            before = self.load()
            state = alter(before)
            if state != before:
                self.folder.save(state, step)
            return state


class AppFolder:
    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def versions(self) -> Path:
        return self.root / "versions"

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def lock(self) -> Path:
        """Held by whoever decides what starts, and watches it."""
        return self.root / "start.lock"

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes what is remembered meanwhile, also no other program. Raises `BusyError`, `OSError`."""
        path = self.root / "state.lock"
        with only_one(path, _CHANGED_WITHIN_S) as alone:
            if not alone:
                raise BusyError(f"Another program holds {path} for {_CHANGED_WITHIN_S:.0f} s already; end it.")
            yield

    @contextmanager
    def fetching(self) -> Iterator[None]:
        """Nobody else fetches, unpacks or takes away versions meanwhile. Raises `BusyError`, `OSError`."""
        with self.fetching_if_free() as alone:
            if not alone:
                raise BusyError("Another GoGrid fetches an update for this machine right now; try again in a moment.")
            yield

    def fetching_if_free(self) -> AbstractContextManager[bool]:
        """Whether this process is the one that does so now. Raises `OSError`."""
        return only_one(self.root / "update.lock")

    def version(self, seq: int) -> Path:
        return self.versions / str(seq)

    def present(self) -> frozenset[int]:
        """The versions that are there, all of them complete: folders of ours that say they are that very version."""
        try:
            with os.scandir(self.versions) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return frozenset()
        return frozenset(int(name) for name in names if _SEQ.fullmatch(name) and self._is_whole(int(name)))

    def load(self, app: str, channel: str) -> TrustedState:
        """Raises `StateFileError`: a person must look at it."""
        path = self._state(channel)
        try:
            if path.stat().st_size > LARGEST_STATE:
                raise StateFileError("It is too large to be what is known about updates; remove it to start anew.")
            return decode_state(path.read_bytes())
        except StateFileError as error:
            raise StateFileError(f"{path}: {error}") from None
        except FileNotFoundError:
            return TrustedState(app=app, channel=channel)
        except OSError as error:
            raise StateFileError(f"{path} cannot be read: {error.strerror or error}.") from error

    def save(self, state: TrustedState, step: Step = unnoticed) -> None:
        """On the disk when this returns.

        Raises:
            StateFileError: nobody could read it again; it is as it was.
            OSError: it could not be written; it is as it was.
        """
        data = encode_state(state)
        try:
            decode_state(data)
        except StateFileError as error:
            raise StateFileError(
                f"What was learned about updates is not kept, it could not be read again: {error}"
            ) from None
        write_whole(self._state(state.channel), data, step)

    def install_id(self) -> str:
        """Made once, and anew if it is damaged: then only this machine's turns change. Raises `OSError`."""
        path = self.root / "install-id"
        try:
            with path.open("rb") as file:
                found = file.read(_LONGEST_ID).decode("ascii", "replace").strip()
            if _INSTALL_ID.fullmatch(found):
                return found
        except (FileNotFoundError, IsADirectoryError):
            clear(path)
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

    def _is_whole(self, seq: int) -> bool:
        try:
            return read_copy(self.version(seq)).seq == seq
        except CopyError:
            return False

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

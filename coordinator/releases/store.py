"""The folder `releases/` of a state folder: the root keys, the index, and the files by their hash.

Promises: what the index names is on disk before the index is; the index is replaced as a whole, flushed, its folder
too, so that a power cut leaves the old offer or the new one; two commands never change it at the same time; root keys
that come with a release are kept only after that release was taken.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from coordinator.errors import ConflictError, StateError
from coordinator.releases.index import Index, Line, published
from coordinator.state.blobs import BlobStore
from coordinator.state.folder import ServeLock, StateFolder
from gogrid.files import make_folder, write_whole
from updates.errors import TrustError, UpdateError
from updates.release_folder import ReleaseFolder
from updates.trust.anchors import LARGEST_ANCHORS, Anchors, parse_anchors
from updates.trust.publication import Checked, check_publication


@dataclass(frozen=True, slots=True)
class Version:
    """Of the index file: differs when it was replaced."""

    modified: int
    inode: int
    size: int


class ReleaseStore:
    """See the module's contract. Nothing is made before something is published."""

    def __init__(self, folder: StateFolder) -> None:
        self._root = folder.releases
        self._index = self._root / "index.json"
        self._anchors = folder.root_keys

    def blobs(self) -> BlobStore:
        """The files; a store of its own, so that nobody takes them for models that nothing names."""
        return BlobStore(self._root / "files")

    def version(self) -> Version | None:
        """None: nothing was ever published. Quick: asked at every answer. Raises `OSError`."""
        try:
            stat = self._index.stat()
        except FileNotFoundError:
            return None
        return Version(stat.st_mtime_ns, stat.st_ino, stat.st_size)

    def read(self) -> Index:
        """Raises `StateError`: damaged; `OSError`."""
        try:
            return msgspec.json.decode(self._index.read_bytes(), type=Index)
        except FileNotFoundError:
            return Index()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StateError(
                f"{self._index} is damaged ({error}); remove {self._root} and publish the release again."
            ) from None

    def anchors(self) -> Anchors:
        """Raises `StateError`: this coordinator was given no root keys."""
        try:
            with self._anchors.open("rb") as file:
                return parse_anchors(file.read(LARGEST_ANCHORS + 1))
        except FileNotFoundError:
            raise StateError(
                "This coordinator knows no root keys, so it believes no release; give them with "
                "`gogrid-coordinator release publish FOLDER --root-keys FILE`."
            ) from None
        except TrustError as error:
            raise StateError(f"{self._anchors}: {error}") from None

    def trust(self, source: Path) -> None:
        """Take root keys, once.

        Raises:
            ConflictError: others are here.
            StateError: `source` holds none.
        """
        given = _root_keys(source)
        self._require_same(given)
        self._keep(given)

    def check(self, folder: ReleaseFolder, now: float, anchors: Anchors | None = None) -> Checked:
        """A release folder that machines would believe; every file is read.

        Args:
            anchors: the root keys to judge by; None: those that are kept here.

        Raises:
            ConflictError: they would not.
            StateError: something is missing.
        """
        anchors = anchors or self.anchors()
        try:
            checked = check_publication(folder.read(), anchors, now)
            folder.check_files(checked)
        except TrustError as error:
            raise ConflictError(f"Refused ({error.alarm.value}): {error}") from None
        except UpdateError as error:
            raise StateError(str(error)) from None
        return checked

    def publish(self, folder: ReleaseFolder, percent: int | None, now: float, root_keys: Path | None = None) -> Line:
        """Take over what a release folder holds, and offer it.

        Args:
            root_keys: the publisher's root-keys.json; kept if none is here yet and the release is taken.

        Raises like `trust` and `check`, and `StorageFullError`.
        """
        given = None if root_keys is None else _root_keys(root_keys)
        if given is not None:
            self._require_same(given)
        checked = self.check(folder, now, given.anchors if given else None)

        def change(index: Index) -> Index:
            after = published(index, checked, percent, now)
            blobs = self.blobs()
            for _, file in checked.release.files():
                stored = blobs.put_file(folder.files / file.name)
                if stored.sha256 != file.sha256:
                    raise ConflictError(f"{file.name} changed while it was read; publish it again.")
            return after

        release = checked.release
        return self._change(change, given).line(release.app, release.channel)

    def change(self, change: Callable[[Index], Index]) -> Index:
        """Replace the index by what `change` makes of it, and remove the files that are named no more."""
        return self._change(change, None)

    def _change(self, change: Callable[[Index], Index], given: "_RootKeys | None") -> Index:
        make_folder(self._root)
        with self._alone():
            if given is not None:
                self._require_same(given)  # again: another command may have kept some
            after = change(self.read())
            write_whole(self._index, msgspec.json.encode(after), private=True, replace=True)
            if given is not None:
                self._keep(given)
            self._remove_unnamed(after)
        return after

    def _require_same(self, given: "_RootKeys") -> None:
        if self._anchors.exists() and self.anchors() != given.anchors:
            raise ConflictError(
                f"This coordinator trusts other root keys already; remove {self._anchors} if these replace them."
            )

    def _keep(self, given: "_RootKeys") -> None:
        if not self._anchors.exists():
            write_whole(self._anchors, given.data, private=False, replace=False)

    def _remove_unnamed(self, index: Index) -> None:
        """Files of releases that are not kept, and what a cut `publish` left; nobody else stores one meanwhile."""
        blobs, named = self.blobs(), index.files()
        for digest in blobs.digests():
            if digest not in named:
                with suppress(PermissionError):  # Windows, while somebody downloads it; the next command removes it
                    blobs.delete(digest)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            lock = ServeLock(self._root / "change.lock")
        except StateError:
            raise ConflictError("Another release command is at work here; try again in a moment.") from None
        try:
            yield
        finally:
            lock.release()


@dataclass(frozen=True, slots=True)
class _RootKeys:
    data: bytes
    anchors: Anchors


def _root_keys(source: Path) -> _RootKeys:
    """Raises `StateError`."""
    try:
        with source.open("rb") as file:
            data = file.read(LARGEST_ANCHORS + 1)
        return _RootKeys(data, parse_anchors(data))
    except FileNotFoundError:
        raise StateError(f"There is no file {source}.") from None
    except TrustError as error:
        raise StateError(f"{source}: {error}") from None

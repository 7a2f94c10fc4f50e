"""What the HTTP layer needs of releases: a seam, and the values that cross it."""

from dataclasses import dataclass
from typing import Protocol

from coordinator.state.blobs import BlobStore
from updates.trust.documents import Installer


@dataclass(frozen=True, slots=True)
class UpdateOffer:
    """One target's answer; the visitor's name of this coordinator goes between its parts."""

    version: str
    release_seq: int
    ts_seq: int
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class FileOffer:
    name: str
    size: int
    """Bytes."""
    signature: bytes
    """The `.minisig` file."""


@dataclass(frozen=True, slots=True)
class Installers:
    app: str
    channel: str
    version: str
    notes: str
    files: tuple[Installer, ...]


@dataclass(frozen=True, slots=True)
class Downloads:
    """What `/downloads` shows."""

    sections: tuple[Installers, ...]


class Releases(Protocol):
    """What is offered now, in memory. All but `blobs` raise `StoreUnavailableError`."""

    def update(self, app: str, channel: str, target: str) -> UpdateOffer | None: ...

    def keys(self, app: str, channel: str, epoch: int) -> bytes | None:
        """The JSON of a `KeysAnswer`."""

    def file(self, sha256: str) -> FileOffer | None: ...

    def downloads(self) -> Downloads | None: ...

    @property
    def blobs(self) -> BlobStore:
        """Where the bytes of files are."""


class NoReleases:
    """Nothing is offered."""

    def update(self, app: str, channel: str, target: str) -> UpdateOffer | None:
        return None

    def keys(self, app: str, channel: str, epoch: int) -> bytes | None:
        return None

    def file(self, sha256: str) -> FileOffer | None:
        return None

    def downloads(self) -> Downloads | None:
        return None

    @property
    def blobs(self) -> BlobStore:
        raise LookupError("there are no files")

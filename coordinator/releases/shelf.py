"""What is offered now, ready to be sent: every answer is made when the offer changes, not when somebody asks.

Promises: no answer is older than a `release` command that has returned: each looks whether the index was replaced (one
`stat`) and reads it anew if so. Raises `StoreUnavailableError` where the disk does not let it look.
"""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from coordinator.errors import CoordinatorError, StoreUnavailableError
from coordinator.releases.index import Index, Line, OfferedStep, PublishedRelease
from coordinator.releases.offers import Downloads, FileOffer, Installers, UpdateOffer
from coordinator.releases.store import ReleaseStore, Version
from coordinator.state.blobs import BlobStore
from updates.errors import TrustError
from updates.trust.answer import Answer, Offer, Platform
from updates.trust.documents import Artifact, Release, parse_release, signature_of

_LOG = logging.getLogger("gogrid.releases")


@dataclass(frozen=True, slots=True)
class _Offers:
    updates: Mapping[tuple[str, str, str], UpdateOffer] = field(default_factory=dict)
    """By app, channel, target."""
    keys: Mapping[tuple[str, str, int], bytes] = field(default_factory=dict)
    files: Mapping[str, FileOffer] = field(default_factory=dict)
    downloads: Downloads | None = None


class Shelf:
    """Implements `coordinator.releases.offers.Releases`."""

    def __init__(self, store: ReleaseStore) -> None:
        self._store = store
        self._version: Version | None = None
        self._offers = _Offers()
        self._blobs: BlobStore | None = None

    def refresh(self) -> None:
        """Look whether a command changed the offer; quick if none did. Of a damaged one nothing is offered."""
        try:
            version = self._store.version()
            if version == self._version:
                return
            index = self._store.read()
        except OSError as error:
            raise StoreUnavailableError(f"What is published cannot be read: {error.strerror or error}.") from error
        except CoordinatorError as error:
            index = Index()
            _LOG.error("nothing is offered: %s", error)
        self._version = version
        try:
            self._offers = offers(index)
        except TrustError as error:
            _LOG.error("nothing is offered: %s", error)
            self._offers = _Offers()
        _LOG.info("%d updates are offered", len(self._offers.updates))

    def update(self, app: str, channel: str, target: str) -> UpdateOffer | None:
        return self._now().updates.get((app, channel, target))

    def keys(self, app: str, channel: str, epoch: int) -> bytes | None:
        return self._now().keys.get((app, channel, epoch))

    def file(self, sha256: str) -> FileOffer | None:
        return self._now().files.get(sha256)

    def downloads(self) -> Downloads | None:
        return self._now().downloads

    def _now(self) -> _Offers:
        self.refresh()
        return self._offers

    @property
    def blobs(self) -> BlobStore:
        if self._blobs is None:
            self._blobs = self._store.blobs()
        return self._blobs


def offers(index: Index) -> _Offers:
    """Every answer to what can be asked. Raises `TrustError`: a document is damaged."""
    updates: dict[tuple[str, str, str], UpdateOffer] = {}
    keys: dict[tuple[str, str, int], bytes] = {}
    files: dict[str, FileOffer] = {}
    sections: list[Installers] = []
    for line in index.lines:
        for epoch, answer in enumerate(line.keys, line.first_epoch):
            keys[line.app, line.channel, epoch] = msgspec.json.encode(answer)
        if line.offered is None:
            continue
        published, step = line.offered
        release = parse_release(published.document.encode())
        for target, artifact in release.platforms.items():
            updates[line.app, line.channel, target] = _update(line, published, step, release, artifact)
        for _, file in release.files():
            files[file.sha256] = FileOffer(file.name, file.size, signature_of(file).raw)
        if release.installers:
            sections.append(
                Installers(release.app, release.channel, release.version, release.notes, release.installers)
            )
    return _Offers(updates, keys, files, Downloads(tuple(sections)) if sections else None)


def _update(
    line: Line, published: PublishedRelease, step: OfferedStep, release: Release, artifact: Artifact
) -> UpdateOffer:
    """The answer in two parts, between which the address of this coordinator belongs, as each visitor knows it."""
    here = secrets.token_hex(16)
    [target] = [name for name, each in release.platforms.items() if each is artifact]
    answer = Answer(
        version=release.version,
        notes=release.notes,
        pub_date=release.pub_date.isoformat().replace("+00:00", "Z"),
        platforms={target: Platform(here + artifact.url, artifact.signature)},
        gogrid=Offer(
            key_epoch=line.first_epoch + len(line.keys) - 1,
            release_seq=published.seq,
            ts_seq=step.ts_seq,
            timestamp=step.document,
            timestamp_signature=step.signature,
            release=published.document,
            release_signature=published.signature,
        ),
    )
    before, after = msgspec.json.encode(answer).split(here.encode())
    return UpdateOffer(release.version, published.seq, step.ts_seq, before, after)

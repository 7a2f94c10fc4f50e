"""The worker's models: told a digest, it brings the model's folder.

Promises: requests for one model share one download; each file is fetched once however many models want it; a model in
use is never evicted; the disk cap holds, counted before anything is fetched; an entry that was tampered with is fetched
again. Progress is told a few times a second on the event loop.
"""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar, cast

from gogrid.ids import Sha256
from gogrid.manifest import ManifestError, ModelManifest, decode_manifest
from gogrid.protocol.job_messages import FailCode
from gogrid.sizes import format_size
from runner.errors import ModelError
from runner.models.blobs import Moved
from runner.models.disk import ModelDisk
from runner.models.disk_trouble import as_no_room
from runner.models.eviction import CachedModel, make_room, unused
from runner.threads import in_thread

log = logging.getLogger(__name__)
_DIGEST = re.compile(r"[0-9a-f]{64}")
MANIFEST_LIMIT = 4 << 20
_TELL_EVERY_S = 0.25
T = TypeVar("T")

Report = Callable[[float], None]
"""Told the fraction, 0..1, that has arrived."""


class BlobSource(Protocol):
    """Where missing files come from; see `blobs.Blobs.fetch`."""

    async def fetch(self, sha256: Sha256, target: Path, *, max_size: int, exact: bool, moved: Moved) -> None: ...


@dataclass(slots=True)
class Download:
    """One model on its way."""

    digest: Sha256
    total: int
    arrived: int = 0
    listeners: list[Report] = field(default_factory=list)

    @property
    def fraction(self) -> float:
        return min(1.0, self.arrived / self.total) if self.total else 1.0


class ModelCache:
    """Use from one event loop."""

    def __init__(self, disk: ModelDisk, source: BlobSource, cap_bytes: int, clock: Callable[[], float]) -> None:
        """`clock` is the wall clock: the order of last use outlives the process."""
        self._disk, self._source, self._cap, self._clock = disk, source, cap_bytes, clock
        self._tasks: dict[str, asyncio.Task[object]] = {}
        self._manifests: dict[Sha256, ModelManifest] = {}
        self._downloads: dict[Sha256, Download] = {}
        self._pins: Counter[Sha256] = Counter()
        self._cached: set[Sha256] = set()
        self.changed: Callable[[], None] = lambda: None
        """Called when `cached` or `downloads` changed."""

    def open(self) -> None:
        """Look at what an earlier process left."""
        self._disk.open()
        for model in self._disk.models(frozenset()):
            manifest = self._disk.manifest(model.digest)
            if manifest is not None and self._disk.complete(model.digest, manifest):
                self._cached.add(model.digest)
                self._manifests[model.digest] = manifest

    @property
    def cached(self) -> tuple[Sha256, ...]:
        return tuple(sorted(self._cached))

    @property
    def downloads(self) -> tuple[Download, ...]:
        return tuple(self._downloads.values())

    def relimit(self, cap_bytes: int) -> None:
        """So much disk from now on; what is too much goes now, as far as it is not in use."""
        self._cap = cap_bytes
        try:
            gone = make_room(self.models(), {}, cap_bytes)
        except ModelError:
            gone = tuple(model.digest for model in self.models() if not model.pinned)
        self._evict(gone)

    def models(self) -> tuple[CachedModel, ...]:
        """Every model on disk; those in use are `pinned`."""
        return self._disk.models(frozenset(name for name, count in self._pins.items() if count > 0))

    def prune(self, unused_since: float) -> tuple[CachedModel, ...]:
        """Remove the models that were not used since then (wall clock) and are not in use; returns them."""
        gone = unused(self.models(), unused_since)
        self._evict(tuple(model.digest for model in gone))
        return gone

    def known(self, digest: Sha256) -> ModelManifest | None:
        """The manifest, if it is here already."""
        return self._manifests.get(digest)

    @contextmanager
    def pinned(self, digest: Sha256) -> Iterator[None]:
        """While inside, the model is not evicted."""
        self.pin(digest)
        try:
            yield
        finally:
            self.unpin(digest)

    def pin(self, digest: Sha256) -> None:
        self._pins[digest] += 1

    def unpin(self, digest: Sha256) -> None:
        self._pins[digest] -= 1

    async def manifest(self, digest: Sha256) -> ModelManifest:
        """Raises `ModelError`."""
        if not _DIGEST.fullmatch(digest):
            raise ModelError("The model's digest is no SHA-256 in hexadecimal.", FailCode.BAD_REQUEST)
        here = self._manifests.get(digest)
        if here is not None:
            return here
        with as_no_room(f"the manifest of model {digest[:12]}…"):
            return await self._shared(f"manifest {digest}", lambda: self._fetch_manifest(digest))

    async def ensure(self, digest: Sha256, report: Report) -> Path:
        """The model's read-only folder, fetched if need be. Keep it pinned meanwhile and while it is used.

        Raises:
            ModelError: it cannot be fetched, is damaged at its origin, or does not fit the disk cap.
        """
        manifest = await self.manifest(digest)
        if not self._disk.complete(digest, manifest):
            download = self._downloads.get(digest)
            if download is None:
                download = self._downloads[digest] = Download(digest, manifest.size_bytes)
            download.listeners.append(report)
            try:
                with as_no_room(f"the model {digest[:12]}…"):
                    await self._shared(f"model {digest}", lambda: self._bring(digest, manifest, download))
            finally:
                download.listeners.remove(report)
        with as_no_room(f"when the model {digest[:12]}… was used"):
            self._disk.used(digest, self._clock())
        return self._disk.view(digest)

    async def recheck(self, digest: Sha256) -> bool:
        """Hash a model's files again, because it would not load. True: they are right."""
        right = await in_thread(lambda _stop: self._disk.recheck(digest), f"recheck {digest[:8]}")
        if not right:
            self._cached.discard(digest)
            self._manifests.pop(digest, None)
            self.changed()
        return right

    def halt(self, spared: Sha256 | None = None) -> None:
        """Fetch nothing any more of what was begun; asked for again, it goes on from there. Waiters are cancelled.

        Args:
            spared: a model that goes on coming.
        """
        stay = self._fetches(spared) if spared is not None else frozenset()
        for name in self._tasks.keys() - stay:
            self._tasks.pop(name).cancel()
        for digest in self._downloads.keys() - {spared}:
            del self._downloads[digest]

    async def close(self) -> None:
        """Stop what is being fetched; it goes on from there next time."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fetches(self, digest: Sha256) -> frozenset[str]:
        """The names of the tasks that bring this model."""
        manifest = self._manifests.get(digest)
        blobs = (f"blob {file.sha256}" for file in manifest.files) if manifest is not None else ()
        return frozenset((f"manifest {digest}", f"model {digest}", *blobs))

    async def _shared(self, name: str, make: Callable[[], Coroutine[object, object, T]]) -> T:
        """Join the running task of that name, or start it. It goes on when a waiter leaves."""
        task = self._tasks.get(name)
        if task is None or task.done():
            task = asyncio.create_task(make(), name=name)
            self._tasks[name] = task
            task.add_done_callback(lambda done: self._ended(name, done))
        return cast(T, await asyncio.shield(task))

    def _ended(self, name: str, task: asyncio.Task[object]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if not task.cancelled() and task.exception() is not None:
            log.debug("%s: %s", name, task.exception())

    async def _fetch_manifest(self, digest: Sha256) -> ModelManifest:
        manifest = self._disk.manifest(digest)
        if manifest is None:
            self._disk.discard(digest)
            await self._source.fetch(
                digest, self._disk.blob(digest), max_size=MANIFEST_LIMIT, exact=False, moved=lambda _count: None
            )
            try:
                manifest = decode_manifest(self._disk.blob(digest).read_bytes())
            except ManifestError as error:
                self._disk.discard(digest)
                raise ModelError(str(error), FailCode.MODEL_UNUSABLE) from error
            self._disk.seal(digest)
        self._manifests[digest] = manifest
        return manifest

    async def _bring(self, digest: Sha256, manifest: ModelManifest, download: Download) -> None:
        log.info("fetching model %s (%s)", digest[:12], format_size(manifest.size_bytes))
        teller = asyncio.create_task(_tell(download))
        try:
            with self.pinned(digest):
                self._make_room(digest, manifest)
                for sha256, size in {file.sha256: file.size for file in manifest.files}.items():
                    await self._shared(f"blob {sha256}", lambda s=sha256, n=size: self._fetch_blob(s, n, download))  # type: ignore[misc]
                self._disk.publish(digest, manifest)
            self._cached.add(digest)
            log.info("model %s is here", digest[:12])
        finally:
            teller.cancel()
            if self._downloads.get(digest) is download:
                del self._downloads[digest]
            self.changed()

    async def _fetch_blob(self, sha256: Sha256, size: int, download: Download) -> None:
        if self._disk.has(sha256, size):
            download.arrived += size
            return
        if self._disk.blob(sha256).exists():
            log.warning("cached file %s was changed; it is fetched again", sha256[:12])
            self._disk.discard(sha256)

        def moved(count: int) -> None:
            download.arrived += count

        part = self._disk.blob(sha256).with_name(sha256 + ".part")
        download.arrived += part.stat().st_size if part.exists() else 0
        await self._source.fetch(sha256, self._disk.blob(sha256), max_size=size, exact=True, moved=moved)
        self._disk.seal(sha256)

    def _make_room(self, digest: Sha256, manifest: ModelManifest) -> None:
        models = tuple(model for model in self.models() if model.digest != digest)
        others = models + tuple(self._incoming(other) for other in self._downloads if other != digest)
        self._evict(make_room(others, {file.sha256: file.size for file in manifest.files}, self._cap))

    def _evict(self, victims: Iterable[Sha256]) -> None:
        for victim in victims:
            log.info("removing model %s from the cache", victim[:12])
            self._disk.remove(victim)
            self._cached.discard(victim)
            self._manifests.pop(victim, None)
            self.changed()

    def _incoming(self, digest: Sha256) -> CachedModel:
        files = self._manifests[digest].files
        return CachedModel(digest, {file.sha256: file.size for file in files}, 0, 0.0, True)


async def _tell(download: Download) -> None:
    with suppress(asyncio.CancelledError):
        while True:
            for listener in tuple(download.listeners):
                listener(download.fraction)
            await asyncio.sleep(_TELL_EVERY_S)

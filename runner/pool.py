"""The loaded models of this worker: one warm executor for each, shared by all its requests.

Promises: one start per model however many wait for it; models and scripts together stay under the owner's cap; a model
nobody wants is closed after a while, the longest unused at once when another one needs its room; no executor outlives
the pool. A model that will not load is checked byte by byte once, and fetched again if it was damaged.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gogrid.ids import Sha256
from gogrid.manifest import ModelManifest
from gogrid.protocol.messages import DeviceKind, FailCode, LoadedModel, LoadStage, Progress
from runner.capacity import Resident, grant, make_way, unused
from runner.errors import ModelError
from runner.executor.messages import Load, Loading
from runner.executor_client import ExecutorClient, start_executor
from runner.models.cache import ModelCache
from runner.models.converted import check_converted
from runner.models.disk import ModelDisk
from runner.sandbox.base import Launcher, Mount, SandboxSpec
from runner.threads import in_thread

log = logging.getLogger(__name__)
MODEL_INSIDE = "/models/current"
CONVERTED_INSIDE = "/models/converted"
_CONVERTED_GROWTH = 16
"""A model in 2-bit numbers becomes eight times as large in bfloat16, and twice that in float32."""
Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Engine:
    """What executors run on; fixed while the runner lives."""

    device: DeviceKind
    gpus: tuple[str, ...]
    cap_bytes: int
    cores: int
    engines: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Entry:
    digest: Sha256
    memory_bytes: int = 0
    start: asyncio.Task[ExecutorClient] | None = None
    client: ExecutorClient | None = None
    slots: int = 0
    waiting: int = 0
    last_used: float = 0.0
    listeners: list[Report] = field(default_factory=list)

    def tell(self, stage: LoadStage, fraction: float) -> None:
        progress = Progress(stage=stage, fraction=min(1.0, max(0.0, fraction)))
        for listener in tuple(self.listeners):
            listener(progress)

    @property
    def users(self) -> int:
        return self.waiting + (self.client.running if self.client is not None else 0)


class ExecutorPool:
    """Use from one event loop."""

    def __init__(
        self,
        launcher: Launcher,
        cache: ModelCache,
        disk: ModelDisk,
        engine: Engine,
        *,
        held: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        """`held`: bytes that scripts hold of the cap now. `clock`: monotonic seconds."""
        self._launcher, self._cache, self._disk, self._engine = launcher, cache, disk, engine
        self._held, self._clock = held, clock
        self._entries: dict[Sha256, _Entry] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.changed: Callable[[], None] = lambda: None
        """Called when `loaded` changed."""

    @property
    def loaded(self) -> tuple[LoadedModel, ...]:
        return tuple(
            LoadedModel(digest=e.digest, memory_bytes=e.memory_bytes, running=e.client.running, slots=e.slots)
            for e in self._entries.values()
            if e.client is not None and e.client.alive
        )

    @property
    def memory_held(self) -> int:
        return sum(entry.memory_bytes for entry in self._entries.values())

    def warm(self, digest: Sha256) -> ExecutorClient | None:
        """The model's executor, if it can serve at once."""
        entry = self._entries.get(digest)
        if entry is None or entry.client is None or not entry.client.alive:
            return None
        entry.last_used = self._clock()
        return entry.client

    @asynccontextmanager
    async def use(self, digest: Sha256, report: Report) -> AsyncIterator[ExecutorClient]:
        """The model's executor, started if need be; not closed for being unused while inside.

        Raises:
            ModelError: it cannot be fetched or loaded, or does not fit.
            SandboxUnavailableError: no process can be started.
        """
        entry = await self._entry(digest)
        entry.waiting += 1
        entry.listeners.append(report)
        try:
            if entry.client is None:
                await self._started(entry)
            entry.listeners.remove(report)
            entry.last_used = self._clock()
            assert entry.client is not None  # noqa: S101  # a start that succeeded has set it
            yield entry.client
        finally:
            entry.waiting -= 1
            entry.last_used = self._clock()
            if report in entry.listeners:
                entry.listeners.remove(report)

    def close_unused(self, idle_s: float) -> None:
        for digest in unused(self._residents(), self._clock(), idle_s):
            log.info("closing model %s: nobody asked for it", digest[:12])
            self._drop(self._entries[digest])

    async def close(self) -> None:
        """End every executor; returns when all are gone."""
        entries = list(self._entries.values())
        starts = [entry.start for entry in entries if entry.start is not None]
        for start in starts:
            start.cancel()
        await asyncio.gather(*starts, return_exceptions=True)
        for entry in entries:
            if entry.client is not None:
                self._drop(entry)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def kill(self) -> None:
        """End every executor now."""
        for entry in self._entries.values():
            if entry.start is not None:
                entry.start.cancel()
            if entry.client is not None:
                entry.client.kill()

    async def _entry(self, digest: Sha256) -> _Entry:
        """The model's entry, or a new one; an executor that is closing is waited for, since it holds memory."""
        while (entry := self._entries.get(digest)) is not None:
            if entry.client is None or entry.client.alive:
                return entry
            await entry.client.wait()
            self._forget(entry)
        self._entries[digest] = _Entry(digest)
        return self._entries[digest]

    async def _started(self, entry: _Entry) -> None:
        start = entry.start
        if start is None:
            start = entry.start = asyncio.create_task(self._start(entry), name=f"start {entry.digest[:12]}")
            start.add_done_callback(lambda task: self._start_ended(entry, task))
        try:
            await asyncio.shield(start)
        except asyncio.CancelledError:
            if start.cancelled():
                raise ModelError("The worker stopped while the model was loading.", FailCode.YIELDED) from None
            raise

    def _start_ended(self, entry: _Entry, task: asyncio.Task[ExecutorClient]) -> None:
        entry.start = None
        if task.cancelled() or task.exception() is not None:
            self._forget(entry)

    async def _start(self, entry: _Entry) -> ExecutorClient:
        self._cache.pin(entry.digest)
        try:
            client = await self._brought(entry)
        except BaseException:
            self._cache.unpin(entry.digest)
            raise
        entry.client = client
        watch = asyncio.create_task(self._watch(entry, client), name=f"watch {entry.digest[:12]}")
        self._closing.add(watch)
        watch.add_done_callback(self._closing.discard)
        self.changed()
        return client

    async def _brought(self, entry: _Entry) -> ExecutorClient:
        """Fetched, room made, converted, loaded."""
        manifest = await self._cache.manifest(entry.digest)
        if manifest.engine not in self._engine.engines:
            raise ModelError(f"This worker has no {manifest.engine} engine.", FailCode.NO_ROOM)
        await self._reserve(entry, manifest)
        await self._fetch(entry)
        try:
            return await self._launch(entry, manifest)
        except ModelError as error:
            if error.code is not FailCode.MODEL_UNUSABLE or await self._cache.recheck(entry.digest):
                raise
        log.warning("model %s was damaged on disk; it is fetched again", entry.digest[:12])
        await self._fetch(entry)
        return await self._launch(entry, manifest)

    async def _watch(self, entry: _Entry, client: ExecutorClient) -> None:
        """Keep the entry, and its files in the cache, for as long as its process holds memory."""
        await client.wait()
        self._cache.unpin(entry.digest)
        self._forget(entry)

    async def _reserve(self, entry: _Entry, manifest: ModelManifest) -> None:
        """Count the model's memory from now on; close others for it."""
        others = tuple(resident for resident in self._residents() if resident.digest != entry.digest)
        victims = make_way(others, manifest.memory_bytes, self._engine.cap_bytes, self._held())
        entry.memory_bytes = manifest.memory_bytes
        for digest in victims:
            log.info("closing model %s to make room for %s", digest[:12], entry.digest[:12])
        clients = [self._entries[digest].client for digest in victims]
        for client in clients:
            if client is not None:
                await client.close()

    async def _fetch(self, entry: _Entry) -> None:
        await self._cache.ensure(entry.digest, lambda fraction: entry.tell(LoadStage.DOWNLOADING, fraction))

    async def _launch(self, entry: _Entry, manifest: ModelManifest) -> ExecutorClient:
        folder = self._disk.view(entry.digest)
        if manifest.format == "gguf":
            folder = await self._converted(entry, manifest, folder)
        free = self._engine.cap_bytes - self._held() - self.memory_held + entry.memory_bytes
        load = self._load(manifest, grant(manifest.memory_bytes, max(free, manifest.memory_bytes)))
        spec = self._spec(folder, None)
        client, ready = await start_executor(self._launcher, spec, load, entry.digest[:12], _loading(entry))
        entry.memory_bytes = max(manifest.memory_bytes, min(ready.memory_bytes, load.cap_bytes))
        entry.slots = max(1, ready.slots)
        client.on_idle = self.changed
        log.info("model %s is loaded: %s, %d slots", entry.digest[:12], ready.device[:100], entry.slots)
        return client

    async def _converted(self, entry: _Entry, manifest: ModelManifest, folder: Path) -> Path:
        """The model in the engine's own format, converted once inside a sandbox and checked."""
        if self._disk.converted_complete(entry.digest):
            return self._disk.converted(entry.digest)
        log.info("converting model %s", entry.digest[:12])
        entry.tell(LoadStage.CONVERTING, 0.0)
        staging = self._disk.staging(entry.digest)
        load = self._load(manifest, manifest.memory_bytes, work_path=CONVERTED_INSIDE)
        spec = self._spec(folder, Mount(staging, CONVERTED_INSIDE))
        client, _ = await start_executor(
            self._launcher, spec, load, f"convert {entry.digest[:12]}", _loading(entry, LoadStage.CONVERTING)
        )
        await client.close()
        most = manifest.size_bytes * _CONVERTED_GROWTH

        def keep(_stop: object) -> Path:
            check_converted(staging, most)
            return self._disk.adopt_converted(entry.digest, staging)

        return await in_thread(keep, f"keep {entry.digest[:8]}")

    def _load(self, manifest: ModelManifest, cap_bytes: int, *, work_path: str = "") -> Load:
        return Load(
            engine=manifest.engine,
            model_path=MODEL_INSIDE,
            device=self._engine.device,
            threads=self._engine.cores,
            cap_bytes=cap_bytes,
            work_path=work_path,
            convert=bool(work_path),
        )

    def _spec(self, folder: Path, writable: Mount | None) -> SandboxSpec:
        return SandboxSpec(
            arguments=("runner.executor",),
            mounts=(Mount(folder, MODEL_INSIDE),),
            writable=writable,
            gpus=self._engine.gpus,
            threads=self._engine.cores,
        )

    def _residents(self) -> tuple[Resident, ...]:
        return tuple(Resident(e.digest, e.memory_bytes, e.users, e.last_used) for e in self._entries.values())

    def _drop(self, entry: _Entry) -> None:
        if entry.client is not None:
            task = asyncio.create_task(entry.client.close(), name=f"close {entry.digest[:12]}")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _forget(self, entry: _Entry) -> None:
        if self._entries.get(entry.digest) is entry:
            del self._entries[entry.digest]
        self.changed()


def _loading(entry: _Entry, only: LoadStage | None = None) -> Callable[[Loading], None]:
    return lambda loading: entry.tell(only or loading.stage, loading.fraction)

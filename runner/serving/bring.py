"""Brings one model into memory: fetched by its digest, converted where it must be, loaded in a sandbox of its own.

Promises: whoever waits is told stage, fraction and, where it was measured before, the seconds left, about once a
second; a model that will not load is checked byte by byte once and fetched again if it was damaged; a converted model
is kept. It is for the caller to have reserved the model's memory.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gogrid.ids import Sha256
from gogrid.manifest import ModelManifest
from gogrid.protocol.job_messages import FailCode, Progress
from gogrid.protocol.worker_report import DeviceKind, LoadStage
from runner.errors import ModelError
from runner.executor.messages import Load
from runner.models.cache import ModelCache
from runner.models.converted import check_converted
from runner.models.disk import ModelDisk
from runner.models.estimates import Durations, Meter, remaining, total
from runner.sandbox.base import Launcher, Mount, SandboxSpec
from runner.serving.capacity import grant
from runner.serving.executor_client import ExecutorClient, start_executor
from runner.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)
MODEL_INSIDE = "/models/current"
CONVERTED_INSIDE = "/models/converted"
_CONVERTED_GROWTH = 16
"""A model in 2-bit numbers becomes eight times as large in bfloat16, and twice that in float32."""
_TELL_EVERY_S = 1.0
_NEARLY = 0.95
"""How far a step seems to be at most before it says so itself."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What executors run on; fixed while the runner lives, but for the cap."""

    device: DeviceKind
    gpus: tuple[str, ...]
    cap_bytes: int
    cores: int
    engines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Brought:
    client: ExecutorClient
    memory_bytes: int
    slots: int
    load_s: float
    """What the last step took: a model that is asked for again needs no other."""


@dataclass(slots=True)
class Coming:
    """One model on its way."""

    digest: Sha256
    manifest: ModelManifest
    tell: Callable[[Progress], None]
    stage: LoadStage
    fraction: float = 0.0
    since: float = 0.0
    """When this stage began, monotonic seconds."""
    meter: Meter = field(default_factory=Meter)


class Bringer:
    """Use from one event loop."""

    def __init__(
        self, launcher: Launcher, cache: ModelCache, disk: ModelDisk, engine: Engine, clock: Callable[[], float]
    ) -> None:
        self._launcher, self._cache, self._disk, self._engine, self._clock = launcher, cache, disk, engine, clock
        self._loads, self._conversions = Durations(), Durations()

    def relimit(self, engine: Engine) -> None:
        """What is brought from now on gets its share of another cap."""
        self._engine = engine

    def expected_s(self, manifest: ModelManifest, digest: Sha256) -> float | None:
        """How long its load will take, if it needs nothing else; None: not known."""
        return None if digest not in self._cache.cached else self._loads.expect(digest, manifest.memory_bytes)

    def coming(self, digest: Sha256, manifest: ModelManifest, tell: Callable[[Progress], None]) -> Coming:
        """For `bring`; `tell` hears of it at once."""
        stage = LoadStage.LOADING if digest in self._cache.cached else LoadStage.DOWNLOADING
        coming = Coming(digest, manifest, tell, stage, since=self._clock())
        tell(self._progress(coming))
        return coming

    async def bring(self, coming: Coming, most_bytes: int) -> Brought:
        """Until the model can serve.

        Args:
            most_bytes: what its executor may use of the device's memory.

        Raises:
            ModelError: it cannot be fetched or loaded.
            SandboxUnavailableError: no process can be started.
        """
        with self._telling(coming):
            await self._fetch(coming)
            try:
                return await self._launch(coming, most_bytes)
            except ModelError as error:
                if error.code is not FailCode.MODEL_UNUSABLE or await self._cache.recheck(coming.digest):
                    raise
            log.warning("model %s was damaged on disk; it is fetched again", coming.digest[:12])
            await self._fetch(coming)
            return await self._launch(coming, most_bytes)

    async def _fetch(self, coming: Coming) -> None:
        if coming.digest not in self._cache.cached:
            self._step(coming, LoadStage.DOWNLOADING, 0.0)
        size = coming.manifest.size_bytes

        def report(fraction: float) -> None:
            coming.meter.seen(self._clock(), fraction * size)
            self._step(coming, LoadStage.DOWNLOADING, fraction)

        await self._cache.ensure(coming.digest, report)

    async def _launch(self, coming: Coming, most_bytes: int) -> Brought:
        manifest, folder = coming.manifest, self._disk.view(coming.digest)
        if manifest.format == "gguf":
            folder = await self._converted(coming, folder)
        began = self._clock()
        self._step(coming, LoadStage.LOADING, 0.0)
        model = Mount(folder, MODEL_INSIDE)
        load = self._load(manifest, model, grant(manifest.memory_bytes, max(most_bytes, manifest.memory_bytes)))
        client, ready = await start_executor(
            self._launcher,
            self._spec(model, None, load.cap_bytes),
            load,
            coming.digest[:12],
            lambda loading: self._step(coming, LoadStage.LOADING, loading.fraction),
        )
        took = self._clock() - began
        self._loads.took(coming.digest, manifest.memory_bytes, took)
        memory, slots = max(manifest.memory_bytes, min(ready.memory_bytes, load.cap_bytes)), max(1, ready.slots)
        log.info("model %s is loaded: %s, %d slots, %.1f s", coming.digest[:12], ready.device[:100], slots, took)
        return Brought(client, memory, slots, took)

    async def _converted(self, coming: Coming, folder: Path) -> Path:
        """The model in the engine's own format, converted once inside a sandbox and checked."""
        digest, manifest = coming.digest, coming.manifest
        if self._disk.converted_complete(digest):
            return self._disk.converted(digest)
        log.info("converting model %s", digest[:12])
        began = self._clock()
        self._step(coming, LoadStage.CONVERTING, 0.0)
        staging = self._disk.staging(digest)
        model, work = Mount(folder, MODEL_INSIDE), Mount(staging, CONVERTED_INSIDE)
        load = self._load(manifest, model, manifest.memory_bytes, work_path=work.seen(self._launcher.report))
        client, _ = await start_executor(
            self._launcher,
            self._spec(model, work, load.cap_bytes),
            load,
            f"convert {digest[:12]}",
            lambda loading: self._step(coming, LoadStage.CONVERTING, loading.fraction),
        )
        await client.close()
        most = manifest.size_bytes * _CONVERTED_GROWTH

        def keep(_stop: object) -> Path:
            check_converted(staging, most)
            return self._disk.adopt_converted(digest, staging)

        kept = await in_thread(keep, f"keep {digest[:8]}")
        self._conversions.took(digest, manifest.size_bytes, self._clock() - began)
        return kept

    def _load(self, manifest: ModelManifest, model: Mount, cap_bytes: int, *, work_path: str = "") -> Load:
        return Load(
            engine=manifest.engine,
            model_path=model.seen(self._launcher.report),
            device=self._engine.device,
            threads=self._engine.cores,
            cap_bytes=cap_bytes,
            work_path=work_path,
            convert=bool(work_path),
        )

    def _spec(self, model: Mount, writable: Mount | None, share: int) -> SandboxSpec:
        """In main memory the kernel keeps each executor below the cap, where it can; the guard keeps all together."""
        return SandboxSpec(
            arguments=("runner.executor",),
            mounts=(model,),
            writable=writable,
            gpus=self._engine.gpus,
            memory_bytes=None if self._engine.device is DeviceKind.CUDA else self._engine.cap_bytes,
            address_space=False,
            share_bytes=share,
            threads=self._engine.cores,
        )

    # --- how far it is ---

    @contextmanager
    def _telling(self, coming: Coming) -> "Iterator[None]":
        teller = asyncio.create_task(self._tell_on(coming), name=f"tell {coming.digest[:12]}")
        try:
            yield
        finally:
            teller.cancel()

    async def _tell_on(self, coming: Coming) -> None:
        with suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(_TELL_EVERY_S)
                coming.tell(self._progress(coming))

    def _step(self, coming: Coming, stage: LoadStage, fraction: float) -> None:
        if stage is not coming.stage:
            coming.since = self._clock()
        coming.stage, coming.fraction = stage, min(1.0, max(0.0, fraction))
        coming.tell(self._progress(coming))

    def _progress(self, coming: Coming) -> Progress:
        manifest, elapsed = coming.manifest, self._clock() - coming.since
        load = self._loads.expect(coming.digest, manifest.memory_bytes)
        convert: float | None = 0.0
        if manifest.format == "gguf" and not self._disk.converted(coming.digest).exists():
            convert = self._conversions.expect(coming.digest, manifest.size_bytes)
        fraction = coming.fraction
        match coming.stage:
            case LoadStage.LOADING:
                left = remaining(fraction, elapsed, load)
                fraction = _guessed(fraction, elapsed, load)
            case LoadStage.CONVERTING:
                left = total((remaining(fraction, elapsed, convert), load))
                fraction = _guessed(fraction, elapsed, convert)
            case _:
                left = total((coming.meter.seconds(manifest.size_bytes * (1 - fraction)), convert, load))
                left = left if left is not None else coming.meter.seconds(manifest.size_bytes * (1 - fraction))
        return Progress(stage=coming.stage, fraction=fraction, eta_s=-1.0 if left is None else round(left, 1))


def _guessed(fraction: float, elapsed: float, expected: float | None) -> float:
    """A step that says little is as far as it was after this time before."""
    if not expected:
        return fraction
    return round(max(fraction, min(_NEARLY, elapsed / expected)), 3)

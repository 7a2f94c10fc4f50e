"""Gets the engine that this machine needs, and newer ones, without being asked.

Promises: nothing is asked or fetched while the machine is its owner's, the coordinator is away or updates are off; what
was begun then stops within half a second, also while it reads or unpacks, and goes on later; the process starts anew
with another engine only when no job runs, or after long. What goes wrong is one sentence, and the next try comes later
each time. Use from one event loop.
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from runner.engine_pack.around import Surroundings
from runner.engine_pack.progress import EngineProgress, Stage
from runner.engine_pack.shelf import EnginePack
from runner.engine_pack.source import Found, PackSource
from runner.errors import RunnerError
from runner.models.blobs import Access
from runner.threads import in_thread
from updates.client.errors import StoppedError
from updates.client.schedule import Rhythm, asked, due, started
from updates.errors import UpdateError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waits:
    """In seconds."""

    rhythm: Rhythm = field(default_factory=lambda: Rhythm(first_s=2.0, retry_longest_s=900.0))
    look: float = 1.0
    lacking: float = 120.0
    """Without an engine, jobs that still run are waited for so long; they go on elsewhere."""
    newer: float = 3600.0


class EngineKeeper:
    def __init__(
        self, source: PackSource, runs: EnginePack | None, around: Surroundings, waits: Waits | None = None
    ) -> None:
        """Args: runs: the pack from which this process' executors import; None: there is no engine."""
        self._source, self._runs, self._around, self._waits = source, runs, around, waits or Waits()
        self._schedule = started(time.time(), self._waits.rhythm)
        self._progress = EngineProgress(lacking=runs is None)
        self._served = self._asked_before = False
        self._arrived, self._ready_since = 0, 0.0
        self._before = (Stage.ASKING, "")
        """What to show again after it had to wait."""

    async def run(self) -> None:
        """Until cancelled, or until the process is to start anew."""
        if self._runs is not None and await self._is_its_owners(self._runs):
            await asyncio.get_running_loop().create_future()
        while True:
            await self._note_service()
            hold, coordinator = self._around.hold(), self._around.coordinator()
            if self._progress.stage is Stage.READY:
                pass
            elif hold or coordinator is None:
                self._become(Stage.WAITING, hold)
            elif due(self._schedule, time.time()):
                await self._look(coordinator)
            elif self._progress.stage is Stage.WAITING:
                self._become(*self._before)
            if self._progress.stage is Stage.READY and self._may_start_anew():
                self._around.restart()
                return
            await asyncio.sleep(self._waits.look)

    async def _is_its_owners(self, pack: EnginePack) -> bool:
        try:
            return await in_thread(lambda _stop: self._source.of_its_owner(pack), "engine ledger")
        except (RunnerError, OSError) as error:
            self._failed(str(error))
            return True

    async def _look(self, coordinator: Access) -> None:
        """Once, and then settle when to look again."""
        try:
            settled = await self._get_newer(coordinator)
        except StoppedError:
            return  # it is due still
        except (UpdateError, RunnerError, OSError) as error:
            self._failed(str(error))
            settled = False
        rhythm = self._waits.rhythm
        self._schedule = asked(self._schedule, time.time(), rhythm, random.random(), failed=not settled)  # noqa: S311

    async def _get_newer(self, coordinator: Access) -> bool:
        """Whether this worker has now what it should have; else it is tried again soon."""
        await self._check_files()
        if await self._newer_is_here():
            return True
        self._become(Stage.ASKING)
        found = await in_thread(lambda _stop: self._source.check(coordinator.base, coordinator.trust), "engine check")
        if found.offer is not None:
            await self._fetch(found)
            return await self._newer_is_here()
        if found.sentence and self._runs is None:
            self._failed(found.sentence)
            return False
        self._become(Stage.REST)
        return True

    async def _check_files(self) -> None:
        """Once a day, not at the start: every file of the pack in use."""
        runs = self._runs
        if runs is not None and self._asked_before:
            try:
                await self._while_it_may(lambda stop: self._source.look_closely(runs, stop), "engine files")
            except RunnerError as error:
                log.error("the engine was changed, so it is fetched again: %s", error)
        self._asked_before = True

    async def _newer_is_here(self) -> bool:
        chosen = await in_thread(lambda _stop: self._source.chosen(), "engine packs")
        if chosen is None or (self._runs is not None and chosen.sha256 == self._runs.sha256):
            return False
        log.info("engine: %s is here", chosen.manifest.label)
        self._ready_since = time.monotonic()
        self._become(Stage.READY)
        return True

    async def _fetch(self, found: Found) -> None:
        size = found.offer.artifact.size if found.offer is not None else 0
        self._arrived = 0
        log.info("fetching the engine pack for %s, %d bytes", self._source.target, size)

        def moved(have: int) -> None:
            self._arrived = have

        def show() -> None:
            stage = Stage.UNPACKING if self._arrived == size else Stage.FETCHING
            self._become(stage, arrived=self._arrived, size=size)

        await self._while_it_may(lambda stop: self._source.fetch(found, stop, moved), "engine fetch", show)

    async def _while_it_may(
        self, work: Callable[[threading.Event], object], name: str, show: Callable[[], None] = lambda: None
    ) -> None:
        """Stops, and is waited for, as soon as it may not go on. Raises what `work` does."""
        stop = threading.Event()
        task = asyncio.create_task(in_thread(lambda _stop: work(stop), name))
        try:
            while not task.done():
                await asyncio.wait((task,), timeout=min(0.5, self._waits.look))
                if hold := self._around.hold():
                    stop.set()
                    self._become(Stage.WAITING, hold)
                elif not task.done():
                    show()
            await task
        finally:
            stop.set()
            task.cancel()

    def _may_start_anew(self) -> bool:
        most = self._waits.lacking if self._progress.lacking else self._waits.newer
        return not self._around.jobs() or time.monotonic() >= self._ready_since + most

    async def _note_service(self) -> None:
        runs = self._runs
        if self._served or runs is None or not self._around.answered():
            return
        self._served = True
        try:
            gone = await in_thread(lambda _stop: self._source.has_served(runs), "older engines")
        except (RunnerError, OSError) as error:
            log.error("older engine packs stay: %s", error)
            return
        for sha256 in gone:
            log.info("removed the engine pack %s, which a newer one has replaced", sha256[:12])

    def _failed(self, sentence: str) -> None:
        log.warning("engine: %s", sentence)
        self._become(Stage.FAILED, sentence)

    def _become(self, stage: Stage, sentence: str = "", *, arrived: int = 0, size: int = 0) -> None:
        fresh = replace(self._progress, stage=stage, sentence=sentence, arrived=arrived, size=size)
        if stage in (Stage.REST, Stage.FAILED):
            self._before = (stage, sentence)
        if fresh != self._progress:
            said, self._progress = self._progress.words, fresh
            if fresh.words != said:
                self._around.tell(fresh)

"""The runner process: puts the parts together, runs until told to stop, and leaves nothing behind.

Promises: one runner per data folder; without a working sandbox it stays connected, says why and takes nothing; a limit
that its owner changes counts within a second; SIGTERM gives every job back to the coordinator and ends all executors
before the process ends.
"""

import asyncio
import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gogrid.identity import client_context
from gogrid.place_options import this_user
from gogrid.places import WorkerPlaces
from gogrid.stop_signals import on_stop_signal
from runner.answers import Answers
from runner.config import WorkerConfig
from runner.control import ControlServer, RunnerLock
from runner.control_messages import WorkerStatus
from runner.engine_pack.around import Surroundings
from runner.engine_pack.progress import EngineProgress
from runner.engine_pack.start import engine_keeper
from runner.errors import NotJoinedError, SandboxUnavailableError
from runner.first_test import named, smallest_model
from runner.gates.probes.choose import find_eyes
from runner.link.coordinator_link import CoordinatorLink, Credentials
from runner.link.membership import Membership, addresses_of, load_membership
from runner.live_settings import LiveSettings
from runner.models.blobs import Access, Blobs
from runner.models.cache import ModelCache
from runner.models.disk import ModelDisk
from runner.models.names import ModelNames
from runner.models.residence import Turns
from runner.owner import Owner
from runner.pause_file import PauseFile
from runner.probes.all import Machine, engine_words, probe_machine
from runner.reporter import Reporter
from runner.sandbox.base import Launcher
from runner.sandbox.choose import choose_launcher
from runner.sandbox.interpreter import running_interpreter
from runner.sandboxed import Sandboxed, caps, gpu_memory, sandboxed
from runner.serving.memory_guard import MemoryGuard
from runner.settings_source import SettingsSource
from runner.speed import load_speed
from runner.statistics.recorder import Counters, Recorder
from runner.status import worker_status
from runner.survey import Survey, update_note
from runner.work import Work

if TYPE_CHECKING:
    from runner.engine_pack.keeper import EngineKeeper

log = logging.getLogger(__name__)
_TICK_S = 5.0


async def run(settings: SettingsSource, places: WorkerPlaces, publisher: Path | None) -> bool:
    """Work until SIGTERM or SIGINT. The settings are read now and whenever their file has changed.

    Args:
        publisher: the folder with the root keys of whoever signs engine packs; None: none is fetched.

    Returns: whether it is to be started anew, because it has another engine now.

    Raises:
        GoGridError: it cannot run, or the coordinator refuses this worker for good.
    """
    config = settings.load()
    with RunnerLock(places.lock):
        membership = load_membership(places.state)
        if membership is None:
            raise NotJoinedError(
                "This worker has not joined a coordinator yet; paste its token: gogrid-worker join TOKEN"
            )
        machine = await asyncio.to_thread(probe_machine, places.engines, config.device)
        launcher, no_sandbox = await _sandbox(machine)
        survey = Survey(machine, launcher.report if launcher is not None else None, no_sandbox, update_note(places))
        facts = survey.facts(config)
        log.info("device: %s", facts.device.why)
        log.info("engine: %s", engine_words(machine))
        log.info("sandbox: %s", facts.sandbox)
        if facts.problem:
            log.error("this worker takes no jobs: %s", facts.problem)
        return await _Runner(settings, config, places, membership, survey, launcher, publisher).run()


async def _sandbox(machine: Machine) -> tuple[Launcher | None, str]:
    """The launcher, or why there is none."""
    try:
        return await choose_launcher(python=running_interpreter(machine.site), gpus=machine.nvidia), ""
    except SandboxUnavailableError as error:
        return None, str(error)


class _Runner:
    def __init__(
        self,
        settings: SettingsSource,
        config: WorkerConfig,
        places: WorkerPlaces,
        membership: Membership,
        survey: Survey,
        launcher: Launcher | None,
        publisher: Path | None = None,
    ) -> None:
        self._places, self._survey = places, survey
        self._settings = LiveSettings(settings, config, places, changed=self._take_up, measured=self._take_speed)
        self._facts = facts = survey.facts(config)
        self._guard = MemoryGuard(caps(facts), time.monotonic, gpu_memory(facts))
        self._trust = client_context(membership.identity_pem)
        self._addresses = addresses_of(config, membership)
        disk = ModelDisk(places.models)
        blobs = Blobs(self._access)
        self._cache = ModelCache(disk, blobs, self._models_cap(), time.time)
        self._parts = self._sandboxed(launcher, disk, blobs) if launcher is not None else None
        self._work = Work(
            facts,
            pool=self._parts.pool if self._parts is not None else None,
            cache=self._cache,
            scripts=self._parts.scripts if self._parts is not None else None,
            clock=time.monotonic,
        )
        self._names = ModelNames(places.model_names, self._work.names)
        credentials = Credentials(membership.worker_id, membership.key, membership.pin)
        self._link = CoordinatorLink(self._addresses, credentials, self._work)
        self._work.refuse, self._work.open_stream = self._link.refuse, self._link.job_stream
        self._reporter = Reporter(self._link.report, self._work.report)
        eyes = find_eyes(os.environ, this_user(), facts.device.gpus, time.monotonic)
        self._owner = Owner(
            self._work, PauseFile(places.state), eyes, lambda: self._settings.config.gates, self._holds_anything
        )
        self._work.changed = self._cache.changed = self._changed
        if self._parts is not None:
            self._parts.pool.changed = self._changed
        self._recorder = Recorder(places.state / "statistics.sqlite3", self._counters)
        self._work.made = self._recorder.tokens
        answers = Answers(
            self._work,
            self._cache,
            self._owner,
            self._settings,
            self._recorder,
            self._parts.first_test if self._parts is not None else None,
            problem=facts.problem,
            status=self._status,
        )
        self._control = ControlServer(places.control, answers.answer)
        self._stop = asyncio.Event()
        self._engine, self._anew = EngineProgress(), False
        self._keeper = self._engine_keeper(publisher)

    async def run(self) -> bool:
        """Returns: whether to start anew."""
        self._cache.open()
        self._names.open()
        self._take_speed()
        await self._owner.open()
        on_stop_signal(self._stop.set)
        await self._control.open()
        linking = asyncio.create_task(self._link.run(), name="link")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        ticking = asyncio.create_task(self._tick(), name="tick")
        reloading = asyncio.create_task(self._settings.watch(), name="settings")
        recording = asyncio.create_task(self._recorder.run(), name="statistics")
        guarding = asyncio.create_task(self._owner.run(), name="owner")
        naming = asyncio.create_task(self._names.run(), name="model names")
        keeping = asyncio.create_task(self._keeper.run() if self._keeper else self._stop.wait(), name="engine")
        self._reporter.changed()
        try:
            ending = (linking, stopping, ticking, reloading, guarding, keeping)
            await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
            log.info("stopping")
        finally:
            await self._end((linking, stopping, ticking, reloading, recording, guarding, naming, keeping))
        for task in ending:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return self._anew

    async def _end(self, tasks: tuple[asyncio.Task[object], ...]) -> None:
        """Jobs back first, while the link still lives; then the executors, so that no memory stays held."""
        await self._work.close()
        if self._parts is not None:
            await self._parts.first_test.close()
        self._reporter.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._parts is not None:
            await self._parts.pool.close()
        await self._cache.close()
        await self._recorder.close()
        await self._control.close()

    def _changed(self) -> None:
        self._reporter.changed()
        self._names.changed(self._cache.cached)
        self._owner.noticed()

    def _holds_anything(self) -> bool:
        """Whether there is something to give back to the machine's owner."""
        memory = self._parts.pool.memory_held if self._parts is not None else 0
        return bool(self._work.jobs or memory or self._cache.downloads)

    def _models_cap(self) -> int:
        """Bytes of the disk that its owner lends, without those of the engine in use."""
        pack = self._survey.machine.pack.pack
        return max(0, self._settings.config.disk_cap - (pack.manifest.unpacked if pack is not None else 0))

    def _no_fetching(self) -> str:
        if not self._settings.config.updates_enabled:
            return "updates are switched off (updates.enabled)"
        return next(iter(self._work.holds.reasons), "")

    def _has_answered(self) -> bool:
        return self._work.done > 0 and self._parts is not None and bool(self._parts.pool.loaded)

    def _tell_engine(self, progress: EngineProgress) -> None:
        self._engine, self._facts = progress, replace(self._facts, engine_note=progress.note)
        self._work.lend(self._facts)

    def _start_anew(self) -> None:
        log.info("starting anew, with another engine")
        self._anew = True
        self._stop.set()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            if self._parts is not None:
                self._parts.pool.close_unused(self._settings.config.executor_idle_s)

    def _take_speed(self) -> None:
        """As it was measured last."""
        found = load_speed(self._places, self._facts)
        self._work.speed = found.told if found is not None else None
        self._reporter.changed()

    def _take_up(self, before: WorkerConfig) -> None:
        config = self._settings.config
        if config.log_level != before.log_level:
            logging.getLogger().setLevel(config.log_level.upper())
        if config.disk_cap != before.disk_cap:
            self._cache.relimit(self._models_cap())
        if self._parts is not None:
            self._parts.pool.turns = Turns(least_s=config.model_turn_s)
        if config.gates != before.gates:
            self._owner.look_soon()
        facts = replace(self._survey.facts(config), engine_note=self._engine.note)
        if facts != self._facts:
            self._facts = facts
            log.info("its owner lends from now on: %s", facts.lent)
            self._guard.caps = caps(facts)
            self._work.lend(facts)

    def _sandboxed(self, launcher: Launcher, disk: ModelDisk, blobs: Blobs) -> Sandboxed:
        return sandboxed(
            self._facts,
            launcher,
            self._guard,
            self._cache,
            disk,
            blobs,
            self._places.jobs,
            turns=Turns(least_s=self._settings.config.model_turn_s),
            clock=time.monotonic,
            scripts_hold=self._scripts_hold,
            find=lambda: named(smallest_model(self._access), self._work.names),
            tested=lambda: self._work.leave(),
        )

    def _engine_keeper(self, publisher: Path | None) -> "EngineKeeper | None":
        surroundings = Surroundings(
            hold=self._no_fetching,
            coordinator=self._access,
            jobs=lambda: len(self._work.jobs),
            answered=self._has_answered,
            tell=self._tell_engine,
            restart=self._start_anew,
        )
        config = self._settings.config
        return engine_keeper(
            self._survey.machine,
            self._places.engines,
            publisher,
            config.device,
            lambda: self._settings.config.disk_cap,
            surroundings,
        )

    def _counters(self) -> Counters:
        held = self._parts.pool.memory_held if self._parts is not None else 0
        return Counters(self._work.done, self._work.failed, held, self._facts.device.gpus)

    def _scripts_hold(self) -> int:
        return self._work.script_memory_held if self._facts.shares_memory else 0

    def _access(self) -> Access | None:
        welcome, address = self._link.welcome, self._link.address
        if welcome is None or address is None:
            return None
        return Access(address.host, welcome.https_port, welcome.ticket, self._trust)

    def _dashboard(self) -> str:
        access = self._access()
        return access.base if access is not None else ""

    def _status(self) -> WorkerStatus:
        return worker_status(
            self._facts,
            self._work,
            self._parts.pool if self._parts is not None else None,
            self._cache,
            coordinator=str(self._link.address or self._addresses[0]),
            dashboard=self._dashboard(),
            connection=self._link.status,
            now=time.monotonic(),
            tokens_per_s=self._recorder.tokens_per_s,
            unseen=self._owner.unseen,
            engine=self._engine,
            settings_trouble=self._settings.trouble,
        )

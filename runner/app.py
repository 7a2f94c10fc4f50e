"""The runner process: puts the parts together, runs until told to stop, and leaves nothing behind.

Promises: one runner per data folder; without a working sandbox it stays connected, says why and takes nothing; a limit
that its owner changes counts within a second; SIGTERM gives every job back to the coordinator and ends all executors
before the process ends.
"""

import asyncio
import logging
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from gogrid.addresses import Address
from gogrid.errors import ConfigError
from gogrid.identity import client_context
from gogrid.places import WorkerPlaces
from gogrid.protocol.messages import DeviceKind
from gogrid.stop_signals import on_stop_signal
from runner.aside import Aside
from runner.config import WorkerConfig
from runner.control import ControlServer, RunnerLock
from runner.control_messages import (
    Answer,
    Ask,
    AskChange,
    AskModels,
    AskPause,
    AskPrune,
    AskReload,
    AskResume,
    AskSettings,
    AskStatistics,
    AskStatus,
    AskTest,
    Done,
    Refused,
    Settings,
    TestShown,
)
from runner.engine_pack.around import Surroundings
from runner.engine_pack.progress import EngineProgress
from runner.engine_pack.start import engine_keeper
from runner.errors import NotJoinedError, SandboxUnavailableError
from runner.facts import Facts
from runner.first_test import FirstTest, smallest_model
from runner.gates.probes.choose import find_eyes
from runner.link.coordinator_link import CoordinatorLink, Credentials
from runner.link.membership import Membership, load_membership
from runner.models.blobs import Access, Blobs
from runner.models.cache import ModelCache
from runner.models.disk import ModelDisk
from runner.models.residence import Turns
from runner.models.shown import models_shown
from runner.owner import Owner
from runner.pause_file import PauseFile
from runner.probes.all import Machine, engine_words, probe_machine
from runner.probes.gpu_memory import GpuMemory, GpuUnreadableError
from runner.probes.nvidia_memory import nvidia_memory
from runner.reporter import Reporter
from runner.sandbox.base import Launcher
from runner.sandbox.choose import choose_launcher
from runner.sandbox.interpreter import running_interpreter
from runner.scripts import ScriptRunner
from runner.serving.bring import Engine
from runner.serving.memory_guard import Caps, MemoryGuard
from runner.serving.pool import ExecutorPool
from runner.serving.watched_launcher import WatchedLauncher
from runner.settings_file import FileStamp
from runner.settings_source import SettingsSource
from runner.speed import load_speed, speed_file
from runner.statistics.recorder import Counters, Recorder
from runner.status import worker_status
from runner.survey import Survey, taken_up, update_note
from runner.work import Work

log = logging.getLogger(__name__)
_TICK_S = 5.0
_LOOK_AT_SETTINGS_S = 0.5


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


def addresses_of(config: WorkerConfig, membership: Membership) -> tuple[Address, ...]:
    """Where to look for the coordinator: what the settings name first, then what the token named."""
    named = (Address(config.host, config.port),) if config.host is not None else ()
    return named + tuple(address for address in membership.addresses if address not in named)


async def _sandbox(machine: Machine) -> tuple[Launcher | None, str]:
    """The launcher, or why there is none."""
    try:
        return await choose_launcher(python=running_interpreter(machine.site), gpus=machine.nvidia), ""
    except SandboxUnavailableError as error:
        return None, str(error)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What needs a sandbox; all of it or nothing."""

    pool: ExecutorPool
    scripts: ScriptRunner
    first_test: FirstTest


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
        self._settings, self._config, self._places, self._survey = settings, config, places, survey
        self._facts = facts = survey.facts(config)
        self._guard = MemoryGuard(_caps(facts), time.monotonic, _gpu_memory(facts))
        self._trust = client_context(membership.identity_pem)
        self._addresses = addresses_of(config, membership)
        disk = ModelDisk(places.models)
        blobs = Blobs(self._access)
        self._cache = ModelCache(disk, blobs, self._models_cap(), time.time)
        self._parts = self._executing(launcher, disk, blobs) if launcher is not None else None
        self._work = Work(
            facts,
            pool=self._parts.pool if self._parts is not None else None,
            cache=self._cache,
            scripts=self._parts.scripts if self._parts is not None else None,
            clock=time.monotonic,
        )
        credentials = Credentials(membership.worker_id, membership.key, membership.pin)
        self._link = CoordinatorLink(self._addresses, credentials, self._work)
        self._work.refuse, self._work.open_stream = self._link.refuse, self._link.job_stream
        self._reporter = Reporter(self._link.report, self._work.report)
        eyes = find_eyes(os.environ, _user(), facts.device.gpus, time.monotonic)
        self._owner = Owner(self._work, PauseFile(places.state), eyes, lambda: self._config.gates, self._holds_anything)
        self._work.changed = self._cache.changed = self._changed
        if self._parts is not None:
            self._parts.pool.changed = self._changed
        self._recorder = Recorder(places.state / "statistics.sqlite3", self._counters)
        self._work.made = self._recorder.tokens
        self._control, self._aside = ControlServer(places.control, self._answer), Aside()
        self._stop = asyncio.Event()
        self._engine, self._anew = EngineProgress(), False
        self._keeper = engine_keeper(
            survey.machine,
            places.engines,
            publisher,
            config.device,
            lambda: self._config.disk_cap,
            Surroundings(
                hold=self._no_fetching,
                coordinator=self._access,
                jobs=lambda: len(self._work.jobs),
                answered=self._has_answered,
                tell=self._tell_engine,
                restart=self._start_anew,
            ),
        )

    async def run(self) -> bool:
        """Returns: whether to start anew."""
        self._cache.open()
        self._take_speed()
        await self._owner.open()
        on_stop_signal(self._stop.set)
        await self._control.open()
        linking = asyncio.create_task(self._link.run(), name="link")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        ticking = asyncio.create_task(self._tick(), name="tick")
        reloading = asyncio.create_task(self._watch_settings(), name="settings")
        recording = asyncio.create_task(self._recorder.run(), name="statistics")
        guarding = asyncio.create_task(self._owner.run(), name="owner")
        keeping = asyncio.create_task(self._keeper.run() if self._keeper else self._stop.wait(), name="engine")
        self._reporter.changed()
        try:
            ending = (linking, stopping, ticking, reloading, guarding, keeping)
            await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
            log.info("stopping")
        finally:
            await self._end((linking, stopping, ticking, reloading, recording, guarding, keeping))
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
        self._owner.noticed()

    def _holds_anything(self) -> bool:
        """Whether there is something to give back to the machine's owner."""
        memory = self._parts.pool.memory_held if self._parts is not None else 0
        return bool(self._work.jobs or memory or self._cache.downloads)

    def _models_cap(self) -> int:
        """Bytes of the disk that its owner lends, without those of the engine in use."""
        pack = self._survey.machine.pack.pack
        return max(0, self._config.disk_cap - (pack.manifest.unpacked if pack is not None else 0))

    def _no_fetching(self) -> str:
        if not self._config.updates_enabled:
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
                self._parts.pool.close_unused(self._config.executor_idle_s)

    async def _watch_settings(self) -> None:
        settings, speed = FileStamp(self._places.config), FileStamp(speed_file(self._places))
        hung = False
        while True:
            await asyncio.sleep(_LOOK_AT_SETTINGS_S)
            try:
                changed, measured = await self._aside.do(lambda: (settings.changed(), speed.changed()))
            except ConfigError as error:
                self._settings.stay(str(error))
                hung = True
                continue
            if changed or hung:
                await self._reload()
            if measured or hung:
                self._take_speed()
            hung = False

    def _take_speed(self) -> None:
        """As it was measured last."""
        found = load_speed(self._places, self._facts)
        self._work.speed = found.told if found is not None else None
        self._reporter.changed()

    async def _reload(self) -> str:
        """Take up what counts at once; why the settings stay as they were, in words, if they do."""
        try:
            fresh = await self._aside.do(self._settings.load_again)
        except ConfigError as error:
            self._settings.stay(str(error))
            return str(error)
        if fresh is not None:
            self._take_up(taken_up(self._config, fresh))
        return self._settings.trouble

    def _take_up(self, config: WorkerConfig) -> None:
        before, self._config = self._config, config
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
            self._guard.caps = _caps(facts)
            self._work.lend(facts)

    def _executing(self, launcher: Launcher, disk: ModelDisk, blobs: Blobs) -> _Parts:
        facts = self._facts
        engine = Engine(
            device=facts.device.kind,
            gpus=facts.device.gpus,
            cap_bytes=facts.device.cap_bytes,
            cores=facts.cores,
            engines=facts.engines,
        )
        watched = WatchedLauncher(launcher, self._guard)
        pool = ExecutorPool(
            watched,
            self._cache,
            disk,
            engine,
            held=self._scripts_hold,
            clock=time.monotonic,
            turns=Turns(least_s=self._config.model_turn_s),
        )
        first_test = FirstTest(pool, watched, lambda: smallest_model(self._access), lambda: self._work.leave())
        return _Parts(pool, ScriptRunner(watched, blobs, self._places.jobs, facts.packages), first_test)

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
        welcome, address = self._link.welcome, self._link.address
        if welcome is None or address is None:
            return ""
        return f"https://{Address(address.host, welcome.https_port)}"

    async def _answer(self, question: Ask) -> Answer:
        match question:
            case AskStatus():
                parts = self._parts
                return worker_status(
                    self._facts,
                    self._work,
                    parts.pool if parts is not None else None,
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
            case AskStatistics():
                return self._recorder.statistics(question.span)
            case AskTest():
                return self._test(begin=question.begin)
            case AskPause():
                if self._parts is not None:
                    self._parts.first_test.stop("It was ended by a pause.")
                return self._owner.pause(question.reason, finish=question.finish, until=question.until)
            case AskResume():
                return self._owner.resume()
            case AskSettings():
                return await self._shown()
            case AskChange():
                return await self._change(question)
            case AskModels():
                return models_shown(self._cache.models(), self._work.names)
            case AskPrune():
                gone = self._cache.prune(time.time() - question.unused_s)
                return models_shown(gone, self._work.names)
            case AskReload():
                if reason := await self._reload():
                    return Refused(reason=reason)
        return Done()

    async def _shown(self) -> Settings | Refused:
        try:
            return await self._aside.do(self._settings.shown)
        except ConfigError as error:
            return Refused(reason=str(error))

    async def _change(self, question: AskChange) -> Done | Refused:
        try:
            done = await self._aside.do(lambda: self._settings.change(question.setting, question.value, running=True))
        except ConfigError as error:
            return Refused(reason=str(error))
        if reason := await self._reload():
            return Refused(reason=reason)
        return done

    def _test(self, *, begin: bool) -> TestShown | Refused:
        if self._parts is None:
            return Refused(reason=f"This machine cannot work yet: {self._facts.problem}")
        if begin:
            self._parts.first_test.begin()
        return self._parts.first_test.shown


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _caps(facts: Facts) -> Caps:
    if facts.shares_memory:
        return Caps(max(facts.script_memory, facts.device.cap_bytes))
    return Caps(facts.script_memory, facts.device.cap_bytes)


def _gpu_memory(facts: Facts) -> GpuMemory | None:
    """Of the GPU that is lent, if its driver can say who holds it."""
    if facts.device.kind is not DeviceKind.CUDA or not facts.device.gpus:
        return None
    try:
        return nvidia_memory(facts.device.gpus)
    except GpuUnreadableError as error:
        log.error("%s", error)
        return None

"""The app's updater: asks, downloads without a word, waits until it suits, and switches.

Promises: nothing that goes wrong here touches the worker; jobs end or move before a switch; a switch happens only while
the coordinator can be reached, because the new version must reach it to stay. With an icon its owner decides when, at
the latest the next start does; without one it happens as soon as nothing runs. A version that is revoked or unsafe does
not wait for a click.
"""

import asyncio
import random
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeVar

from runner.control_messages import Answer, Ask, AskPause, AskResume, AskStatus, WorkerStatus
from tray.apart import apart
from tray.instance_messages import UpdateState
from tray.supervision.restart import Life, Phase
from tray.updating.ripeness import ReadyVersion, Waits, next_look_s, ripe
from tray.updating.settings import UpdateSettings
from updates.client.disk import problem_of
from updates.client.errors import StoppedError
from updates.client.schedule import asked, asked_by_hand, due, started
from updates.errors import UpdateError

if TYPE_CHECKING:
    from tray.updating.work import UpdateWork

T = TypeVar("T")
_RESTARTING = "restarting into a new version"


class Updater:
    def __init__(
        self,
        work: "UpdateWork",
        ask: Callable[[Ask], Awaitable[Answer | None]],
        life: Callable[[], Life],
        settings: Callable[[], Awaitable[UpdateSettings | None]],
        restart: Callable[[], None],
        say: Callable[[str], None],
        *,
        attended: bool,
        changed: Callable[[UpdateState], None] = lambda state: None,
        waits: Waits | None = None,
    ) -> None:
        """
        Args:
            work: what it does on the disk and over the network.
            ask: the running worker.
            settings: None: nobody knows them now.
            restart: ends this program, so that what is installed starts.
            attended: it has an icon with "Restart to update" in its menu.
        """
        self._work, self._ask, self._life, self._settings = work, ask, life, settings
        self._restart, self._say, self._changed = restart, say, changed
        self._attended, self._waits = attended, waits or Waits()
        self._wake, self._stop = asyncio.Event(), threading.Event()
        self._checking: asyncio.Task[None] | None = None
        self._switching: asyncio.Task[None] | None = None
        self._schedule = started(time.time(), self._waits.rhythm)
        self._proved = self._restarting = self._urgent = False
        self._looked = self._found_at_start = self._failed_once = False
        self._ready: int | None = None
        self._ready_since, self._began = 0.0, time.monotonic()
        self.state = UpdateState(state="current", sentence=work.note())

    async def keep(self) -> None:
        """Until cancelled."""
        try:
            while not self._restarting:
                self._wake.clear()
                answer = await self._ask(AskStatus())
                status = answer if isinstance(answer, WorkerStatus) else None
                await self._prove(status)
                settings = await self._settings()
                if settings is not None:  # else nobody knows whether its owner wants updates
                    await self._look(settings, status)
                    if self._ready is not None and self._ripe(status):
                        self._begin(status)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._wake.wait()
        finally:
            self._stop.set()
            begun = [task for task in (self._checking, self._switching) if task is not None]
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)

    def check_now(self) -> None:
        self._schedule = asked_by_hand(self._schedule, time.time())
        self._wake.set()

    async def apply(self) -> str:
        """Begin to restart into what is ready; why not, in words, or empty: it has begun."""
        answer = await self._ask(AskStatus())
        return self._begin(answer if isinstance(answer, WorkerStatus) else None)

    async def roll_back(self) -> str:
        """Restart into the version before; why not, in words, or empty: it restarts."""
        try:
            version = await asyncio.to_thread(self._work.roll_back)
        except (UpdateError, OSError) as error:
            return str(error)
        self._say(f"going back to version {version}, as its owner asked")
        asyncio.get_running_loop().call_soon(self._end)
        return ""

    async def _prove(self, status: WorkerStatus | None) -> None:
        """This version stays once it has reached its coordinator, or has said that it belongs to none."""
        if self._proved or not ((status and status.connected) or self._life().phase is Phase.NOT_JOINED):
            return
        self._proved = bool(await self._try(self._work.prove))

    async def _look(self, settings: UpdateSettings, status: WorkerStatus | None) -> None:
        """Start a check if it is time for one."""
        if not self._looked:
            self._looked = True
            await self._find_ready(settings.pinned)
            self._found_at_start = self._ready is not None
        if status is not None and (address := status.dashboard):
            await self._try(lambda: self._work.coordinator_is(address))
        if self._checking is not None and not self._checking.done():
            return
        now = time.time()
        if not settings.enabled:
            self._become("off", sentence="Updates are switched off.")
        elif due(self._schedule, now):
            self._checking = asyncio.create_task(self._check(settings))
        elif self.state.state == "off":
            self.check_now()

    async def _check(self, settings: UpdateSettings) -> None:
        self._become("checking", sentence="Looking for a newer version.")
        failed = True  # also by what nobody thought of
        try:
            found = await apart(lambda: self._work.check(settings), "update check")
            if found.install is not None:
                self._become("downloading", found.version, f"Version {found.version} is being downloaded.")
                for complaint in await apart(lambda: self._work.fetch(found, self._stop), "update download"):
                    self._say(f"updates: {complaint}")
            await self._find_ready(settings.pinned)
            self._urgent = found.urgent
            if found.warning:
                self._say(f"updates: {found.warning}")
            self._show(found.sentence)
            failed = False
        except StoppedError:
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told and tried again
            sentence = " ".join(filter(None, (self._problem(error), await self._frozen())))
            self._say(f"updates: {sentence}")
            if self._ready is None:
                self._become("failed", sentence=sentence)
            else:
                self._show("")
        finally:
            rhythm = self._waits.rhythm
            self._schedule = asked(self._schedule, time.time(), rhythm, random.random(), failed=failed)  # noqa: S311
            self._wake.set()

    async def _frozen(self) -> str:
        """An endpoint that stays silent, or answers with what does not count, is told of as well."""
        try:
            return await asyncio.to_thread(self._work.frozen)
        except (UpdateError, OSError):
            return ""

    def _problem(self, error: Exception) -> str:
        """In a sentence; what nobody thought of is logged whole."""
        if isinstance(error, OSError):
            return f"Updates cannot use the disk: {problem_of(error)}."
        if isinstance(error, UpdateError):
            return str(error)
        self._say("".join(traceback.format_exception(error)).rstrip())
        return f"Updates failed in a way that they should not ({type(error).__name__}: {error}); the log says where."

    async def _find_ready(self, pinned: str | None) -> None:
        ready = await self._try(lambda: self._work.ready(pinned))
        if ready != self._ready:
            self._ready, self._ready_since, self._found_at_start = ready, time.monotonic(), False
        self._failed_once = ready is not None and bool(await self._try(lambda: self._work.failed_once(ready)))

    def _show(self, sentence: str) -> None:
        if self._ready is None:
            self._become("current", sentence=self._work.note() or sentence)
            return
        version = self._work.version_of(self._ready)
        self._become("ready", version, f"Version {version} is ready; it starts when you restart GoGrid.")

    def _ripe(self, status: WorkerStatus | None) -> bool:
        """Whether to switch without being asked."""
        if status is None or self.state.state == "off":
            return False
        waited_s = time.monotonic() - self._ready_since
        return ripe(
            ReadyVersion(waited_s, self._found_at_start, self._failed_once, self._urgent),
            self._waits,
            proved=self._proved,
            reached=status.connected,
            attended=self._attended,
            busy=bool(status.jobs),
        )

    def _begin(self, status: WorkerStatus | None) -> str:
        """Start to switch; why not, in words."""
        if self._ready is None:
            return "There is no newer version ready; look for one with: gogrid-worker update check"
        joined = self._life().phase is not Phase.NOT_JOINED
        if joined and (status is None or not status.connected):
            return "The coordinator cannot be reached now, and a new version must reach it to stay; try again later."
        if self._switching is None or self._switching.done():
            self._switching = asyncio.create_task(self._switch(self._ready, status))
        return ""

    async def _switch(self, seq: int, status: WorkerStatus | None) -> None:
        """Let jobs end or move, then restart."""
        self._say(f"switching to version {self._work.version_of(seq)}")
        await self._let_jobs_end(status)
        try:
            await asyncio.to_thread(self._work.switch, seq)
        except (UpdateError, OSError) as error:
            self._say(f"updates: {error}")
            self._become("failed", sentence=str(error))
            self._ready = None  # until the next check finds it again
            return
        self._end()

    async def _let_jobs_end(self, status: WorkerStatus | None) -> None:
        """Nothing new is taken meanwhile; those that do not end in time move when the worker stops."""
        if status is None or not status.jobs or status.order:
            return
        until = time.time() + self._waits.jobs_end + 60.0
        await self._ask(AskPause(reason=_RESTARTING, finish=True, until=until))
        deadline = time.monotonic() + self._waits.jobs_end
        while time.monotonic() < deadline:
            answer = await self._ask(AskStatus())
            if not isinstance(answer, WorkerStatus) or not answer.jobs:
                break
            await asyncio.sleep(self._waits.look)
        await self._ask(AskResume())

    def _end(self) -> None:
        self._restarting = True
        self._wake.set()
        self._restart()

    def _pause(self) -> float:
        """Until the next look."""
        return next_look_s(
            self._waits,
            proved=self._proved,
            runs_for_s=time.monotonic() - self._began,
            anything_ready=self._ready is not None,
            attended=self._attended,
            check_in_s=self._schedule.next_at - time.time(),
        )

    def _become(
        self,
        state: Literal["off", "current", "checking", "downloading", "ready", "failed"],
        version: str = "",
        sentence: str = "",
    ) -> None:
        fresh = UpdateState(state=state, version=version, sentence=sentence)
        if fresh != self.state:
            self.state = fresh
            self._changed(fresh)

    async def _try(self, deed: Callable[[], T]) -> T | None:
        """What is known of updates may be damaged: that is told, and the worker goes on."""
        try:
            return await asyncio.to_thread(deed)
        except Exception as error:  # noqa: BLE001  # the updater goes on
            self._become("failed", sentence=self._problem(error))
            return None

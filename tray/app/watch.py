"""Looks at the runner and keeps what is known of it: often while it starts, once a second while things happen, every
three seconds when nothing does, at once when told to. Without an icon it looks only when somebody asks.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from gogrid.places import WorkerPlaces
from runner.control_messages import Answer, Ask, AskSettings, AskStatus, Settings, WorkerStatus
from tray.app.choices import choices, notifications
from tray.app.notes import Level
from tray.app.state import Choices, Known, Looker, View
from tray.control_client import NotRunningError, ask
from tray.instance_messages import AppState
from tray.supervision.restart import Life, Phase
from tray.updating.settings import UpdateSettings, update_settings

_EVERY_S = 1.0
_QUIET_S = 3.0
_QUIET_AFTER_S = 10.0
"""Without a change."""
_STARTING_S = 0.1


class Watch:
    def __init__(self, places: WorkerPlaces, life: Callable[[], Life], *, window: bool) -> None:
        """
        Args:
            life: how it is with the runner's process.
            window: this session can show one.
        """
        self._places, self._life = places, life
        self._looker = Looker()
        self._look = asyncio.Event()
        self._settings_seen: tuple[int, object] | None = None
        """Which runner told the settings, and which file it had."""
        self.level: Level = "trouble"
        self.known = Known(window=window)
        self.view = View(AppState.STARTING, "Starting", self.known)
        self.changed: Callable[[View, View], None] = lambda before, after: None
        """Called with the last view and the next one, which may be equal."""

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        changed_at = loop.time()
        while True:
            self._look.clear()
            before = self.view
            await self.refresh()
            if self.view.sentence != before.sentence or self.view.state is AppState.WORKING:
                changed_at = loop.time()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s(loop.time() - changed_at)):
                    await self._look.wait()

    def _pause_s(self, unchanged_for_s: float) -> float:
        if self.view.state is AppState.STARTING and self.known.status is None:
            return _STARTING_S
        return _EVERY_S if unchanged_for_s < _QUIET_AFTER_S else _QUIET_S

    def look_now(self) -> None:
        self._look.set()

    def forget_settings(self) -> None:
        """They have been changed."""
        self._settings_seen = None
        self.look_now()

    async def refresh(self) -> View:
        """Ask the runner, if there is one, and show what it says."""
        loop = asyncio.get_running_loop()
        status: WorkerStatus | None = None
        if self._life().phase is Phase.RUNS:
            answer = await self.ask(AskStatus())
            status = answer if isinstance(answer, WorkerStatus) else None
            await self._refresh_settings(status)
        self.known = replace(self.known, life=self._life(), status=status)
        before, self.view = self.view, self._looker.view(self.known, loop.time())
        self.changed(before, self.view)
        return self.view

    async def ask(self, question: Ask) -> Answer | None:
        """Of the running worker; None: there is none, or it does not answer."""
        try:
            return await asyncio.to_thread(ask, self._places.control, question)
        except NotRunningError:
            return None

    async def update_settings(self) -> UpdateSettings | None:
        """As the worker has them, or, where it was given up, as the file has them: a newer one may mend it."""
        answer = await self.ask(AskSettings())
        if answer is None and self._life().phase is Phase.GIVEN_UP:
            answer = await asyncio.to_thread(_written, self._places)
        return update_settings(answer) if isinstance(answer, Settings) else None

    async def _refresh_settings(self, status: WorkerStatus | None) -> None:
        """Again when another runner tells them, or their file has changed."""
        if status is None:
            return
        seen = (status.pid, _stamp(self._places.config))
        if seen == self._settings_seen:
            return
        answer = await self.ask(AskSettings())
        if isinstance(answer, Settings):
            self._settings_seen = seen
            self.level = notifications(answer)
            self.known = replace(self.known, choices=choices(answer))
        else:
            self.known = replace(self.known, choices=Choices())


def _written(places: WorkerPlaces) -> Settings | None:
    """The settings as a start would find them; None: they are no good."""
    from tray.commands.base import Context, FailedError, fetch

    try:
        return msgspec.json.decode(fetch(Context(places, ()), ("config",)), type=Settings)
    except (FailedError, msgspec.MsgspecError):
        return None


def _stamp(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

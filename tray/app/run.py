"""The app that people leave running: it supervises the runner, shows how it is, and does what its menu says.

Promises: one app for each data folder; what ends it (Quit, a signal, the end of the session) ends the runner cleanly
and leaves nothing; an icon or a window that crashes, or cannot be shown, does not concern the runner.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from gogrid.file_lock import FileLock, LockHeldError
from gogrid.place_options import place_words
from gogrid.places import WorkerPlaces
from gogrid.stop_signals import on_stop_signal
from gogrid.worker_exit import WorkerExit
from runner.control_messages import AskStatus, Refused
from tray.app.deeds import Deeds
from tray.app.icon_process import AppIcon
from tray.app.menu import menu, tooltip
from tray.app.notes import note
from tray.app.state import View
from tray.app.watch import Watch
from tray.app.window_process import AppWindow, has_desktop
from tray.autostart.choose import autostart
from tray.icon.messages import Chosen, FromIcon, NoTray, SessionEnds, Show
from tray.instance import NoAppError, app_server, ask_app
from tray.instance_messages import AppAnswer, AppState, ShowWindow, UpdateState
from tray.runner_command import icon_command, runner_command, window_command
from tray.supervision.rotating_log import RotatingLog
from tray.supervision.supervisor import Supervisor
from tray.updating.start import Updatable
from tray.updating.updater import Updater

_LISTENS_WITHIN_S = 3.0
_LOOK_AGAIN_S = 0.1


def run_app(
    places: WorkerPlaces,
    named: Sequence[str],
    settings: Sequence[str],
    updatable: Updatable | None,
    *,
    headless: bool,
) -> int:
    """Until it is asked to end; the exit code of this program.

    Args:
        named: `--config` and `--data` as they were given, for what is started at login.
        settings: those given on the command line, for the runner.
        updatable: None: this installation is not updated by itself.

    Raises:
        GoGridError, OSError: it cannot run.
    """
    try:
        with FileLock(places.app_lock):
            status = asyncio.run(_run(places, named, settings, updatable, headless=headless))
    except LockHeldError:
        occupied = updatable.occupied() if updatable is not None else None
        return _second_start(places, headless=headless) if occupied is None else occupied
    if updatable is None:
        return status or 0
    return updatable.start_anew() if status is None else updatable.ended(status)


def _second_start(places: WorkerPlaces, *, headless: bool) -> int:
    """The one that runs comes to the front."""
    if headless:
        print(f"gogrid-worker: A worker runs on {places.data} already; see: gogrid-worker status", file=sys.stderr)
        return WorkerExit.CANNOT_RUN
    answer = _ask_first(places)
    if isinstance(answer, Refused):
        print(f"gogrid-worker: {answer.reason}", file=sys.stderr)
        return WorkerExit.REFUSED
    return 0


def _ask_first(places: WorkerPlaces) -> AppAnswer:
    """One that has only just started, too, is given a moment to listen. Raises `NoAppError`."""
    until = time.monotonic() + _LISTENS_WITHIN_S
    while True:
        try:
            return ask_app(places.instance, ShowWindow(page="settings"))
        except NoAppError:
            if time.monotonic() > until:
                raise
        time.sleep(_LOOK_AGAIN_S)


async def _run(
    places: WorkerPlaces,
    named: Sequence[str],
    settings: Sequence[str],
    updatable: Updatable | None,
    *,
    headless: bool,
) -> int | None:
    """None: what is installed now is to run in our place."""
    app = _App(places, named, settings, updatable, headless=headless)
    status = await app.run()
    return None if app.restarts else status


class _App:
    def __init__(
        self,
        places: WorkerPlaces,
        named: Sequence[str],
        settings: Sequence[str],
        updatable: Updatable | None,
        *,
        headless: bool,
    ) -> None:
        self.restarts = False
        self._log = RotatingLog(places.logs, "tray")
        desktop = not headless and has_desktop(os.environ, sys.platform)
        if not headless and not desktop:
            self._say("no tray icon: there is no display here. The worker goes on without; use gogrid-worker status.")
        shared = place_words(places)
        self._supervisor = Supervisor(
            runner_command(("run", *shared, *settings)),
            places.logs,
            stays=desktop,
            changed=self._life_changed,
            answers=self._runner_answers,
        )
        self._watch = Watch(places, lambda: self._supervisor.life, window=desktop)
        self._watch.changed = self._show
        self._icon = AppIcon(icon_command(), self._hear, self._say) if desktop else None
        self._window = AppWindow(window_command(shared), self._say)
        self._updater = self._make_updater(places, updatable, attended=desktop) if updatable is not None else None
        login = autostart(places, named, updatable.here.launcher if updatable is not None else None)
        self._deeds = Deeds(self._watch, self._supervisor, self._window, login, self._icon, self._updater, self._say)
        self._server = app_server(places.instance, self._deeds.answer)
        self._had_icon = self._welcomed = False

    def _make_updater(self, places: WorkerPlaces, updatable: Updatable, *, attended: bool) -> Updater:
        def changed(state: UpdateState) -> None:
            self._watch.known = replace(self._watch.known, update=state)
            self._watch.look_now()

        updater = Updater(
            updatable.work(places),
            self._watch.ask,
            lambda: self._supervisor.life,
            self._watch.update_settings,
            self._restart,
            self._say,
            attended=attended,
            changed=changed,
        )
        changed(updater.state)
        return updater

    def _restart(self) -> None:
        self.restarts = True
        self._supervisor.stop()

    async def run(self) -> int:
        on_stop_signal(self._supervisor.stop)
        await self._server.open()
        supervising = asyncio.create_task(self._supervisor.run(), name="supervisor")
        helpers: list[asyncio.Task[None]] = []
        if self._icon is not None:
            helpers = [
                asyncio.create_task(self._icon.keep(), name="icon"),
                asyncio.create_task(self._look(), name="watch"),
            ]
        if self._updater is not None:
            helpers.append(asyncio.create_task(self._updater.keep(), name="updater"))
        try:
            return await self._until_end(supervising, helpers)
        finally:
            self._supervisor.stop()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, supervising, return_exceptions=True)
            await self._window.close()  # who waits for it to be seen has an answer now
            await self._deeds.close()
            await self._window.close()  # of one that was just being opened
            await self._server.close()
            self._log.close()

    async def _look(self) -> None:
        await self._deeds.look_up_autostart()
        await self._watch.run()

    async def _until_end(self, supervising: asyncio.Task[int], helpers: Sequence[asyncio.Task[None]]) -> int:
        """A helper that fails is told of and done without."""
        waiting: set[asyncio.Task[int] | asyncio.Task[None]] = {supervising, *helpers}
        while not supervising.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for helper in helpers:
                if helper in done and (error := helper.exception()) is not None:
                    self._say(f"the {helper.get_name()} failed ({error!r}); the worker goes on without it")
        return supervising.result()

    async def _runner_answers(self) -> bool:
        return await self._watch.ask(AskStatus()) is not None

    def _life_changed(self) -> None:
        self._watch.look_now()

    def _show(self, before: View, after: View) -> None:
        if self._icon is None:
            return
        self._icon.show(Show(state=after.state, tooltip=tooltip(after), menu=menu(after)))
        if (told := note(before, after, self._watch.level)) is not None:
            self._icon.note(told)
        if after.state is AppState.NOT_JOINED and not self._welcomed and after.known.window:
            self._welcomed = True
            self._deeds.welcome()

    def _hear(self, message: FromIcon) -> None:
        if isinstance(message, Chosen):
            self._deeds.perform(message.action)
            return
        ended = isinstance(message, NoTray) and not message.display and self._had_icon
        if isinstance(message, SessionEnds) or ended:
            self._say("the session ends")
            self._supervisor.stop()
        self._had_icon = self._had_icon or (self._icon is not None and self._icon.shown)

    def _say(self, text: str) -> None:
        self._log.say("tray", text)

"""What the app does when its menu, its window or the command line asks.

Each deed is done at once and the runner looked at right behind it, so that what is shown follows in the same moment.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Any, get_args

from gogrid.errors import GoGridError
from runner.control_messages import Done, Refused
from tray.app.icon_process import AppIcon
from tray.app.orders import order
from tray.app.watch import Watch
from tray.app.window_process import AppWindow
from tray.autostart.base import Autostart
from tray.icon.messages import Action, Kind, Note
from tray.instance_messages import (
    AppAnswer,
    AppAsk,
    ApplyUpdate,
    AppStatus,
    AskApp,
    CheckUpdates,
    HoldRunner,
    Page,
    Quit,
    RollBackUpdate,
    SetAutostart,
    ShowWindow,
    StartRunner,
)
from tray.supervision.supervisor import Supervisor
from tray.updating.start import FROM_SOURCE
from tray.updating.updater import Updater

_NO_UPDATER = Refused(reason=FROM_SOURCE)
_NO_WINDOW = Refused(reason="The GoGrid that runs here has no desktop to show a window on; use: gogrid-worker --help")
_LONGEST_HOLD_S = 300.0
_PAGES: tuple[Page, ...] = get_args(Page)


class Deeds:
    def __init__(
        self,
        watch: Watch,
        supervisor: Supervisor,
        window: AppWindow,
        autostart: Autostart,
        icon: AppIcon | None,
        updater: Updater | None,
        say: Callable[[str], None],
    ) -> None:
        """
        Args:
            updater: None: this installation has none.
            say: writes a sentence into the log.
        """
        self._watch, self._supervisor, self._window, self._autostart = watch, supervisor, window, autostart
        self._icon, self._updater, self._say = icon, updater, say
        self._running: set[asyncio.Task[None]] = set()

    async def answer(self, question: AppAsk) -> AppAnswer:
        """To whoever asks over the app's socket."""
        match question:
            case AskApp():
                return await self._status()
            case ShowWindow():
                return await self._show(question)
            case StartRunner(anew=anew):
                self._supervisor.start(anew=anew)
            case HoldRunner(longest_s=longest_s):
                await self._supervisor.hold(min(max(longest_s, 1.0), _LONGEST_HOLD_S))
            case SetAutostart(on=on):
                return await self._set_autostart(on)
            case CheckUpdates() | ApplyUpdate() | RollBackUpdate():
                return await self._update(question)
            case Quit():
                asyncio.get_running_loop().call_soon(self._supervisor.stop)
        self._watch.look_now()
        return Done()

    def perform(self, action: Action) -> None:
        """What was clicked; a refusal, or a pause that is not kept, goes into the log and is shown."""
        self._start(self._perform(action))

    def welcome(self) -> None:
        """Somebody who starts it for the first time sees how to join."""
        self.perform(Action(Kind.WINDOW, "join"))

    async def look_up_autostart(self) -> None:
        found = await asyncio.to_thread(self._autostart.state)
        self._watch.known = replace(self._watch.known, autostart=found if isinstance(found, bool) else None)

    def _start(self, deed: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(deed)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _perform(self, action: Action) -> None:
        if (asked := order(action, datetime.now().astimezone())) is not None:
            answer = await self._watch.ask(asked)
            self._tell(Refused(reason="The worker does not answer.") if answer is None else answer)
            self._watch.forget_settings()
        elif action.kind is Kind.DASHBOARD:
            await asyncio.to_thread(_open_in_browser, action.value)
        elif (question := _question(action)) is not None:
            self._tell(await self.answer(question))

    def _tell(self, answer: object) -> None:
        """A refusal, and what was done but not as its owner will expect."""
        if isinstance(answer, Refused):
            self._say(f"refused: {answer.reason}")
            self._notify(answer.reason)
        elif isinstance(answer, Done) and answer.note and answer.counts in ("", "no"):
            self._say(answer.note)
            self._notify(answer.note)

    def _notify(self, sentence: str) -> None:
        if self._icon is not None and self._watch.level != "none":
            self._icon.note(Note(title="GoGrid", text=sentence))

    async def _status(self) -> AppStatus:
        view = await self._watch.refresh()
        return AppStatus(
            state=view.state,
            sentence=view.sentence,
            runner=view.known.status,
            update=view.known.update,
            autostart=view.known.autostart,
            icon=self._icon is not None and self._icon.shown,
            pid=os.getpid(),
        )

    async def _show(self, question: ShowWindow) -> AppAnswer:
        if self._icon is not None:
            self._icon.try_again()
        if not self._watch.known.window:
            return _NO_WINDOW
        try:
            failed = await self._window.show(question)
        except OSError as error:
            return Refused(reason=f"The window cannot be started: {error.strerror or error}.")
        if failed:
            return Refused(reason=f"GoGrid runs, without a window: {failed}")
        self._start(self.look_up_autostart())
        return Done()

    async def _update(self, question: CheckUpdates | ApplyUpdate | RollBackUpdate) -> AppAnswer:
        if self._updater is None:
            return _NO_UPDATER
        if isinstance(question, CheckUpdates):
            self._updater.check_now()
            return Done()
        applying = isinstance(question, ApplyUpdate)
        refusal = await (self._updater.apply() if applying else self._updater.roll_back())
        return Refused(reason=refusal) if refusal else Done()

    async def _set_autostart(self, on: bool) -> AppAnswer:
        try:
            await asyncio.to_thread(self._autostart.set, on=on)
        except (GoGridError, OSError) as error:
            return Refused(reason=str(error))
        finally:
            await self.look_up_autostart()
            self._watch.look_now()
        return Done()


def _open_in_browser(address: str) -> None:
    import webbrowser  # rarely needed

    webbrowser.open(address)


def _question(action: Action) -> AppAsk | None:
    """What a click asks of the app itself."""
    match action.kind:
        case Kind.WINDOW if action.value in _PAGES:
            return ShowWindow(page=action.value)
        case Kind.AUTOSTART:
            return SetAutostart(on=action.value == "on")
        case Kind.START:
            return StartRunner()
        case Kind.CHECK_UPDATES:
            return CheckUpdates()
        case Kind.APPLY_UPDATE:
            return ApplyUpdate()
        case Kind.QUIT:
            return Quit()
    return None

"""One call of the page in, one reply out.

Promises: never raises; whatever is not a call is refused before anything behind it is asked; a token is handed to
nobody but the errand that joins, and is in no reply and no log. Blocks as long as the doors do; may be called from
several threads at once.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

from gogrid.errors import GoGridError
from gogrid.jointoken import JoinToken, parse
from gogrid.pinwords import pin_words
from runner.control_messages import Answer as WorkerAnswer
from runner.control_messages import (
    AskChange,
    AskPause,
    AskResume,
    AskSettings,
    AskStatistics,
    AskStatus,
    AskTest,
    Done,
    Refused,
    Settings,
    Statistics,
    TestShown,
    WorkerStatus,
)
from tray.control_client import NotRunningError
from tray.instance_messages import (
    AppAnswer,
    AppAsk,
    ApplyUpdate,
    AppState,
    AppStatus,
    AskApp,
    CheckUpdates,
    HoldRunner,
    SetAutostart,
    StartRunner,
)
from tray.window.bridge import calls
from tray.window.bridge.doors import Doors, JoinedAs

log = logging.getLogger(__name__)
T = TypeVar("T")


class Dispatcher:
    def __init__(self, doors: Doors, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since 1970."""
        self._doors, self._clock = doors, clock

    def answer(self, request: str | bytes) -> str:
        """JSON of one `calls.AnyCall` in, of one `calls.AnyReply` out."""
        try:
            call = calls.decode_call(request)
        except (msgspec.MsgspecError, UnicodeError):
            return calls.encode_reply(
                calls.Failed(reason="The page asked for something that this version does not know.")
            )
        try:
            return calls.encode_reply(self._reply(call))
        except GoGridError as error:
            return calls.encode_reply(calls.Failed(reason=str(error)))
        except Exception:
            log.exception("the window failed to answer %s", type(call).__name__)
            return calls.encode_reply(calls.Failed(reason="The window failed in itself; its log has the details."))

    def _reply(self, call: calls.AnyCall) -> calls.AnyReply:
        doors = self._doors
        match call:
            case calls.Look():
                return self._overview()
            case calls.ReadToken() | calls.AskName() | calls.Join():
                return self._joining(call, parse(call.token, self._clock()))
            case calls.StartWorker():
                return _well(self._ask_app(StartRunner(anew=call.anew)))
            case calls.Test():
                return _expect(doors.worker.ask(AskTest(begin=call.begin)), TestShown)
            case calls.Pause():
                until = self._clock() + call.seconds if call.seconds > 0 else 0.0
                return _well(doors.worker.ask(AskPause(until=until)))
            case calls.Resume():
                return _well(doors.worker.ask(AskResume()))
            case calls.ReadSettings():
                return self._settings()
            case calls.Change():
                return self._change(call)
            case calls.StartAtLogin():
                return _well(self._ask_app(SetAutostart(on=call.on)))
            case calls.CheckForUpdates():
                return _well(self._ask_app(CheckUpdates()))
            case calls.RestartToUpdate():
                return _well(self._ask_app(ApplyUpdate()))
            case calls.ReadStatistics():
                return _expect(doors.worker.ask(AskStatistics(span=call.span)), Statistics)
            case calls.ReadLog():
                return doors.logs.read(call.file, call.after)
            case calls.OpenFolder():
                doors.errands.open_folder(call.which)
                return calls.Well()

    def _overview(self) -> calls.Overview:
        app: AppStatus | None = None
        runner: WorkerStatus | None = None
        try:
            app = _expect(self._doors.app.ask(AskApp()), AppStatus)
            runner = app.runner
        except GoGridError:
            app = None  # a window without an app behind it still shows the worker
        try:
            runner = _expect(self._doors.worker.ask(AskStatus()), WorkerStatus)
        except GoGridError:
            runner = None
        joined = runner is not None or (self._doors.errands.joined() and not _not_joined(app))
        return calls.Overview(
            app=app, runner=runner, joined=joined, config=self._doors.config, logs=self._doors.logs_folder
        )

    def _joining(
        self, call: calls.ReadToken | calls.AskName | calls.Join, token: JoinToken
    ) -> calls.TokenRead | calls.Named | calls.Joined:
        match call:
            case calls.ReadToken():
                return calls.TokenRead(
                    addresses=tuple(str(address) for address in token.addresses),
                    pin=token.pin.hex(),
                    words=pin_words(token.pin),
                    expires_at=token.expires_at,
                    needs_approval=token.needs_approval,
                )
            case calls.AskName():
                return calls.Named(name=self._doors.errands.coordinator_name(token))
            case calls.Join():
                done = self._join(token, call.name.strip())
                note = self._start_after_joining()
                return calls.Joined(
                    coordinator=done.coordinator,
                    address=done.address,
                    worker=done.worker,
                    pending=done.pending,
                    started=not note,
                    note=note,
                )

    def _join(self, token: JoinToken, name: str) -> JoinedAs:
        """The runner ends first, if one runs, and goes on for its coordinator if this fails."""
        with suppress(GoGridError):  # where nobody can end it, joining itself says that it runs
            self._ask_app(HoldRunner())
        try:
            return self._doors.errands.join(token.text(), name)
        except BaseException:
            if self._doors.errands.joined():
                self._start_after_joining()
            raise

    def _start_after_joining(self) -> str:
        """Why the runner does not start, in words; empty: it does."""
        try:
            answer = self._ask_app(StartRunner())
        except GoGridError as error:
            return f"{error} Start it with gogrid-worker."
        return answer.reason if isinstance(answer, Refused) else ""

    def _settings(self) -> Settings:
        try:
            return _expect(self._doors.worker.ask(AskSettings()), Settings)
        except NotRunningError:
            return self._doors.errands.settings()

    def _change(self, call: calls.Change) -> calls.Well | calls.Failed:
        try:
            answer = self._doors.worker.ask(AskChange(setting=call.setting, value=call.value))
        except NotRunningError:
            return calls.Well(note=self._doors.errands.change(call.setting, call.value))
        return _well(answer)

    def _ask_app(self, question: AppAsk) -> AppAnswer:
        return self._doors.app.ask(question)


class _RefusedError(GoGridError):
    """Whoever was asked says no, and why."""


def _well(answer: WorkerAnswer | AppAnswer) -> calls.Well | calls.Failed:
    if isinstance(answer, Refused):
        return calls.Failed(reason=answer.reason)
    return calls.Well(note=answer.note if isinstance(answer, Done) else "")


def _expect(answer: object, kind: type[T]) -> T:
    if isinstance(answer, Refused):
        raise _RefusedError(answer.reason)
    if not isinstance(answer, kind):
        raise _RefusedError("The worker gave another answer than was asked for; are both of one version?")
    return answer


def _not_joined(app: AppStatus | None) -> bool:
    return app is not None and app.state is AppState.NOT_JOINED

"""What the app answers on its own local socket: newline-ended JSON, one question, one `AppStatus`, `Done` or `Refused`.

The window and `gogrid-worker` ask here for what belongs to the whole app (there may be no runner to ask); what belongs
to the running worker is asked on its own socket, in `runner.control_messages`.
"""

from enum import Enum
from typing import Literal

import msgspec

from runner.control_messages import ControlMessage, Done, Refused, WorkerStatus

Page = Literal["join", "settings", "statistics", "logs"]


class AppState(Enum):
    """What the icon's colour says."""

    STARTING = "starting"
    READY = "ready"
    WORKING = "working"
    PAUSED = "paused"
    TROUBLE = "trouble"
    NOT_JOINED = "not_joined"


class UpdateState(msgspec.Struct, frozen=True, kw_only=True):
    state: Literal["unsupported", "off", "current", "checking", "downloading", "ready", "failed"] = "unsupported"
    """`unsupported`: this installation has no updater; then nothing of updates is shown."""
    version: str = ""
    """The newer one, while `downloading` or `ready`."""
    sentence: str = ""
    """For people; empty: nothing to say."""


class AskApp(ControlMessage, frozen=True):
    """Answered by `AppStatus`."""


class ShowWindow(ControlMessage, frozen=True):
    """Open the window, or bring the open one to the front; `Refused` where this machine cannot show one.

    The app starts the window as `python -m tray.window --page PAGE --config FILE --data FOLDER` and holds its standard
    input: one `ShowWindow` a line asks it to come to the front with that page, the end of it says that the app is gone
    and that it must end too.
    """

    page: Page = "settings"


class StartRunner(ControlMessage, frozen=True):
    """Start the runner if none runs: after joining, or after it was given up. Forgets its crashes."""

    anew: bool = False
    """One that runs ends cleanly first: for settings that count from the next start."""


class HoldRunner(ControlMessage, frozen=True):
    """End the runner cleanly and start none before `StartRunner`: joining another coordinator needs its folder.

    `Done` when none runs. One who asks and is gone does not leave the worker stopped: the hold ends by itself.
    """

    longest_s: float = 90.0


class SetAutostart(ControlMessage, frozen=True):
    """Start at login, or not. `Refused` says why this machine cannot."""

    on: bool


class CheckUpdates(ControlMessage, frozen=True):
    pass


class ApplyUpdate(ControlMessage, frozen=True):
    """Let jobs end or move, then restart into the version that is `ready`."""


class RollBackUpdate(ControlMessage, frozen=True):
    """Let jobs move, then restart into the version before this one; this one is not installed again."""


class Quit(ControlMessage, frozen=True):
    """End the runner cleanly, then the app. Answered before it happens."""


class AppStatus(ControlMessage, frozen=True):
    state: AppState
    sentence: str
    """What the worker does and why, or why there is none; as in the menu's first line."""
    runner: WorkerStatus | None
    """As of the last second; None: no runner runs, or it does not answer yet."""
    update: UpdateState
    autostart: bool | None
    """None: this machine cannot start it at login."""
    icon: bool
    """It shows a tray icon."""
    pid: int


AppAsk = (
    AskApp | ShowWindow | StartRunner | HoldRunner | SetAutostart | CheckUpdates | ApplyUpdate | RollBackUpdate | Quit
)
AppAnswer = AppStatus | Done | Refused

_asks: msgspec.json.Decoder[AppAsk] = msgspec.json.Decoder(AppAsk)
_answers: msgspec.json.Decoder[AppAnswer] = msgspec.json.Decoder(AppAnswer)


def decode_app_ask(line: bytes) -> AppAsk:
    """Raises `msgspec.MsgspecError` or `UnicodeDecodeError` for anything else."""
    return _asks.decode(line)


def decode_app_answer(line: bytes) -> AppAnswer:
    """Raises `msgspec.MsgspecError` or `UnicodeDecodeError` for anything else."""
    return _answers.decode(line)

"""Every call the page can make and every answer it can get: frozen, typed, told apart by `type`.

What is not one of these calls, or has another field or another kind of value, is refused before anything happens.
"""

from typing import Literal

import msgspec

from runner.control_messages import Settings, Statistics, TestShown, WorkerStatus
from tray.instance_messages import AppStatus


class Call(msgspec.Struct, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """Base of what the page asks; the tag is the class name."""


class Look(Call, frozen=True):
    """How things are; answered by `Overview`."""


class ReadToken(Call, frozen=True):
    """Take a pasted token apart; nothing is sent anywhere. Answered by `TokenRead`."""

    token: str


class AskName(Call, frozen=True):
    """Ask the coordinator of a token what it calls itself, and compare its pin. Nothing of the token or of this machine
    is sent. Answered by `Named`."""

    token: str


class Join(Call, frozen=True):
    """Join, then start the runner. Answered by `Joined`."""

    token: str
    name: str = ""
    """What the coordinator shall call this worker; empty: its host name."""


class StartWorker(Call, frozen=True):
    """Start the runner; `anew` ends the one that runs first."""

    anew: bool = False


class Test(Call, frozen=True):
    """See `AskTest`; answered by `TestShown`."""

    begin: bool = False


class Pause(Call, frozen=True):
    seconds: float = 0.0
    """0: until it is resumed."""


class Resume(Call, frozen=True):
    pass


class ReadSettings(Call, frozen=True):
    """Answered by `Settings`."""


class Change(Call, frozen=True):
    """Write one setting; an empty value is its default again. `Failed` says what is allowed."""

    setting: str
    value: str


class StartAtLogin(Call, frozen=True):
    on: bool


class CheckForUpdates(Call, frozen=True):
    pass


class RestartToUpdate(Call, frozen=True):
    pass


class ReadStatistics(Call, frozen=True):
    """Answered by `Statistics`."""

    span: Literal["hour", "day", "week"] = "hour"


class ReadLog(Call, frozen=True):
    """Answered by `LogPiece`."""

    file: str = ""
    """One of `LogPiece.files`; empty: the first."""
    after: int = -1
    """The byte behind what was read before; negative: the end of the file only."""


class OpenFolder(Call, frozen=True):
    which: Literal["logs", "config"]


AnyCall = (
    Look
    | ReadToken
    | AskName
    | Join
    | StartWorker
    | Test
    | Pause
    | Resume
    | ReadSettings
    | Change
    | StartAtLogin
    | CheckForUpdates
    | RestartToUpdate
    | ReadStatistics
    | ReadLog
    | OpenFolder
)


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of what the page is answered."""


class Overview(Reply, frozen=True):
    app: AppStatus | None
    """None: the window was started without the app behind it."""
    runner: WorkerStatus | None
    """None: no runner answers."""
    joined: bool
    config: str
    logs: str


class TokenRead(Reply, frozen=True):
    addresses: tuple[str, ...]
    pin: str
    """64 hexadecimal digits."""
    words: str
    """The same pin for people."""
    expires_at: int
    needs_approval: bool


class Named(Reply, frozen=True):
    name: str
    """Proved by the pin: nobody else could have answered so."""


class Joined(Reply, frozen=True):
    coordinator: str
    address: str
    worker: str
    pending: bool
    """Its admin has yet to approve this worker."""
    started: bool
    """The runner starts; else `note` says why not."""
    note: str = ""


class LogPiece(Reply, frozen=True):
    files: tuple[str, ...]
    file: str
    """Empty: there is no log yet."""
    text: str
    next: int
    """`after` of the next call."""
    anew: bool
    """The file was cut or replaced: what was read before is not in it."""


class Well(Reply, frozen=True):
    """It is done."""

    note: str = ""


class Failed(Reply, frozen=True):
    reason: str
    """One sentence that says what to do."""


AnyReply = Overview | TokenRead | Named | Joined | LogPiece | Well | Failed | Settings | Statistics | TestShown

_calls: msgspec.json.Decoder[AnyCall] = msgspec.json.Decoder(AnyCall)


def decode_call(text: str | bytes) -> AnyCall:
    """Raises `msgspec.MsgspecError` or `UnicodeError` for anything else."""
    return _calls.decode(text)


def encode_reply(reply: AnyReply) -> str:
    return msgspec.json.encode(reply).decode()

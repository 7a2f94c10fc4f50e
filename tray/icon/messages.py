"""What the app and the icon's process say to each other: JSON, one message a line, on the icon's standard streams.

The app says what to show (`Show`, `Note`), the icon what was clicked (`Chosen`) and how it is (`Shown`, `NoTray`,
`SessionEnds`). The end of its standard input ends the icon.
"""

from enum import Enum

import msgspec

from runner.control_messages import ControlMessage
from tray.instance_messages import AppState


class Kind(Enum):
    """What a menu item does."""

    PAUSE = "pause"
    """`value`: `hour`, `tomorrow` or `resumed`."""
    RESUME = "resume"
    FINISH = "finish"
    CHANGE = "change"
    """Write a setting; `value`: `KEY=VALUE`."""
    AUTOSTART = "autostart"
    """`value`: `on` or `off`."""
    DASHBOARD = "dashboard"
    """`value`: its address."""
    WINDOW = "window"
    """`value`: the page."""
    START = "start"
    CHECK_UPDATES = "check_updates"
    APPLY_UPDATE = "apply_update"
    QUIT = "quit"


class Action(msgspec.Struct, frozen=True):
    kind: Kind
    value: str = ""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a menu. Without label: a separator."""

    label: str = ""
    action: Action | None = None
    """None: it cannot be clicked, or opens `items`."""
    enabled: bool = True
    checked: bool | None = None
    """None: it has no check mark."""
    radio: bool = False
    default: bool = False
    """What a plain click on the icon does, where the desktop knows that."""
    items: tuple["Item", ...] = ()


class Show(ControlMessage, frozen=True):
    state: AppState
    tooltip: str
    menu: tuple[Item, ...]


class Note(ControlMessage, frozen=True):
    """A notification, where the desktop shows such."""

    title: str
    text: str


class Chosen(ControlMessage, frozen=True):
    action: Action


class Shown(ControlMessage, frozen=True):
    """The icon can be seen."""

    by: str
    """In words: through what."""


class NoTray(ControlMessage, frozen=True):
    """No icon can be shown on this desktop."""

    reason: str
    display: bool = True
    """There is a display at all."""


class SessionEnds(ControlMessage, frozen=True):
    """The user logs out, or the machine shuts down."""


ToIcon = Show | Note
FromIcon = Chosen | Shown | NoTray | SessionEnds

_to_icon: msgspec.json.Decoder[ToIcon] = msgspec.json.Decoder(ToIcon)
_from_icon: msgspec.json.Decoder[FromIcon] = msgspec.json.Decoder(FromIcon)


def decode_to_icon(line: bytes) -> ToIcon:
    """Raises `msgspec.MsgspecError` or `UnicodeDecodeError` for anything else."""
    return _to_icon.decode(line)


def decode_from_icon(line: bytes) -> FromIcon:
    """Raises `msgspec.MsgspecError` or `UnicodeDecodeError` for anything else."""
    return _from_icon.decode(line)

"""`python -m tray.icon`: the icon's process. Started by the app; what it says and hears is in `tray.icon.messages`.

Promises: it ends with its standard input, however the app ended. Exit codes: 0 it was asked to end, 3 this desktop
shows no icons (it has said why), anything else is an accident.
"""

import os
import sys
import threading
from typing import IO

import msgspec

from runner.control_messages import ControlMessage, encode_line
from tray.icon.messages import Action, Chosen, Note, NoTray, SessionEnds, Show, Shown, decode_to_icon
from tray.icon.surroundings import CannotShow, dark_panel, why_no_tray

NO_TRAY = 3
_PATIENCE_S = 1.5
"""For the toolkit to end by itself."""
_SESSION_S = 4.5
"""For the app to end while Windows waits; it waits five."""


def main() -> int:
    out = sys.stdout.buffer
    why = why_no_tray()
    if why is not None:
        return _no_tray(out, why)
    try:
        from tray.icon.pystray_icon import TrayIcon
    except ImportError as error:
        return _no_tray(out, CannotShow(f"The desktop packages are missing ({error}); install gogrid[desktop]."))
    first = _first_show()
    if first is None:
        return 0
    stopping = threading.Event()

    def chosen(action: Action) -> None:
        _say(out, Chosen(action=action))

    icon = TrayIcon(chosen, dark=dark_panel())

    def hear() -> None:
        for line in sys.stdin.buffer:
            message = decode_to_icon(line)
            if isinstance(message, Note):
                icon.note(message)
            else:
                icon.show(message)
        stopping.set()
        icon.stop()
        threading.Timer(_PATIENCE_S, os._exit, (0,)).start()

    def shown(by: str) -> None:
        _say(out, Shown(by=by))
        threading.Thread(target=hear, name="hear", daemon=True).start()

    def session_ends() -> None:
        _say(out, SessionEnds())
        stopping.wait(_SESSION_S)

    try:
        icon.run(first, shown, session_ends)
    except Exception:
        if not stopping.is_set():
            raise
        # At its end pystray takes back a notification, which fails where nobody shows any.
    sys.stdout.flush()
    os._exit(0)  # timers and pystray's own threads have nothing left to do


def _first_show() -> Show | None:
    """What to show from the start; None: the app has ended."""
    for line in sys.stdin.buffer:
        message = decode_to_icon(line)
        if isinstance(message, Show):
            return message
    return None


def _no_tray(out: IO[bytes], why: CannotShow) -> int:
    _say(out, NoTray(reason=why.reason, display=why.display))
    return NO_TRAY


_saying = threading.Lock()


def _say(out: IO[bytes], message: ControlMessage) -> None:
    with _saying:
        out.write(encode_line(message))
        out.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BrokenPipeError, msgspec.MsgspecError) as error:
        sys.exit(f"the app is gone or speaks another language: {error}")

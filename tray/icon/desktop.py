"""What differs between the three desktops for an icon: its thread, whether a menu is open, the end of the session."""

import sys
from collections.abc import Callable
from typing import Any

_WM_QUERYENDSESSION, _WM_ENDSESSION = 0x11, 0x16
_POPUP_MENU = "#32768"
"""The class of every open menu's window on Windows."""


def on_main_thread(call: Callable[[], None]) -> None:
    """Where the toolkit wants to be called; Windows' does not mind. From any thread."""
    if sys.platform == "darwin":
        from PyObjCTools import AppHelper

        AppHelper.callAfter(call)
    elif sys.platform == "win32":
        call()
    else:
        from gi.repository import GLib

        GLib.idle_add(call)


def menu_is_open() -> bool:
    """A menu that changes while it is open would close, or worse. On the main thread."""
    if sys.platform == "win32":
        import ctypes

        return bool(ctypes.windll.user32.FindWindowW(_POPUP_MENU, None))
    elif sys.platform == "darwin":
        return False
    else:
        from gi.repository import Gtk

        return Gtk.grab_get_current() is not None


def let_session_end(icon: Any, ends: Callable[[], None]) -> None:
    """Have pystray's Windows icon answer that the session may end: what it has no answer for it answers with no."""

    def ending(really: int, _: int) -> int:
        if really:
            ends()
        return 0

    icon._message_handlers[_WM_QUERYENDSESSION] = lambda *_: 1
    icon._message_handlers[_WM_ENDSESSION] = ending

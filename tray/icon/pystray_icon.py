"""The only module that speaks pystray: shows a picture, a tooltip and a menu, and says what was clicked.

Lives on the process's main thread, where macOS wants it. A menu that is open is not touched: what changes it waits.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pystray

from tray.icon.desktop import let_session_end, menu_is_open, on_main_thread
from tray.icon.messages import Action, Item, Note, Show
from tray.icon.pictures import picture
from tray.instance_messages import AppState

_SIZE = {"win32": 64, "darwin": 44}
_OTHER_SIZE = 48
_LOOK_AGAIN_S = 0.5


class TrayIcon:
    def __init__(self, chosen: Callable[[Action], None], *, dark: bool) -> None:
        """
        Args:
            chosen: called with what was clicked.
            dark: it lies on a dark panel.
        """
        self._chosen, self._dark = chosen, dark
        self._size = _SIZE.get(sys.platform, _OTHER_SIZE)
        self._show = self._wanted = Show(state=AppState.STARTING, tooltip="GoGrid", menu=())
        self._icon: Any = None

    def run(self, first: Show, shown: Callable[[str], None], session_ends: Callable[[], None]) -> None:
        """Until `stop`; on the main thread.

        Args:
            shown: called once it can be seen, with the name of what shows it.
            session_ends: called, on Windows, before the user is logged out; the desktop waits for it.
        """
        self._show = self._wanted = first
        self._icon = pystray.Icon(
            "gogrid-worker",
            icon=picture(first.state, self._size, dark=self._dark),
            title=first.tooltip,
            menu=pystray.Menu(lambda: tuple(self._items(self._show.menu))),
        )
        if sys.platform == "win32":
            let_session_end(self._icon, session_ends)

        def ready(icon: Any) -> None:
            icon.visible = True
            shown(type(icon).__module__.rpartition("_")[2])

        self._icon.run(setup=ready)

    def stop(self) -> None:
        """From any thread."""
        if self._icon is not None:
            on_main_thread(self._icon.stop)

    def show(self, show: Show) -> None:
        """From any thread."""
        self._wanted = show
        on_main_thread(self._update)

    def note(self, note: Note) -> None:
        """A notification; a desktop that shows none is no fault."""
        if self._icon is not None and self._icon.HAS_NOTIFICATION:
            on_main_thread(lambda: self._notify(note))

    def _notify(self, note: Note) -> None:
        with suppress(OSError, subprocess.SubprocessError):
            self._icon.notify(note.text, note.title)

    def _update(self) -> None:
        before, now = self._show, self._wanted
        if self._icon is None or now == before:
            return
        if menu_is_open():
            threading.Timer(_LOOK_AGAIN_S, lambda: on_main_thread(self._update)).start()
            return
        self._show = now
        if now.state is not before.state:
            self._icon.icon = picture(now.state, self._size, dark=self._dark)
        if now.tooltip != before.tooltip:
            self._icon.title = now.tooltip
        if now.menu != before.menu:
            self._icon.update_menu()

    def _items(self, items: Iterable[Item]) -> Iterable[pystray.MenuItem]:
        for item in items:
            if not item.label:
                yield pystray.Menu.SEPARATOR
                continue
            inner = pystray.Menu(*self._items(item.items)) if item.items else self._click(item.action)
            yield pystray.MenuItem(
                item.label,
                inner,
                checked=None if item.checked is None else lambda _, on=item.checked: on,
                radio=item.radio,
                default=item.default,
                enabled=item.enabled,
            )

    def _click(self, action: Action | None) -> Callable[[], None] | None:
        if action is None:
            return None
        return lambda: self._chosen(action)

"""The real window: the only module that knows pywebview.

Promises: no server and no port is opened; what the page asks goes through the dispatcher and nowhere else; links and
dropped files lead nowhere; when the app that started it is gone, the window closes. Where nothing can show it that is
one sentence: pywebview's tracebacks of the toolkits that it tried are kept from the terminal and the log.
"""

import json
import logging
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable

import msgspec

from gogrid.errors import GoGridError
from tray.app.window_process import has_desktop
from tray.gtk import gtk_advice
from tray.instance_messages import AppAsk, Page, ShowWindow, decode_app_ask
from tray.window.bridge.dispatch import Dispatcher
from tray.window.document import document

TITLE = "GoGrid Worker"
_SIZE, _LEAST = (920, 680), (520, 420)


class NoWindowError(GoGridError):
    """This machine cannot show the window; says what is missing."""


def show_window(page: Page, dispatcher: Dispatcher, orders: Iterable[str] | None, shown: Callable[[], None]) -> None:
    """Show it until it is closed; call from the main thread.

    Args:
        orders: lines of the app that started it, each a `ShowWindow`; their end closes the window. None: no app did.
        shown: called when the page is there, in a thread.

    Raises:
        NoWindowError: there is nothing to show a window with.
    """
    if not has_desktop(os.environ, sys.platform):
        raise NoWindowError("There is no desktop here to show a window on; gogrid-worker has a command for everything.")
    try:
        import webview
        from webview.errors import WebViewException
    except ImportError as error:
        raise NoWindowError(f"The window needs the package {error.name}: pip install 'gogrid[desktop]'.") from error
    webview.settings["OPEN_EXTERNAL_LINKS_IN_BROWSER"] = False
    window = webview.create_window(
        TITLE,
        html=document(page, "window"),
        width=_SIZE[0],
        height=_SIZE[1],
        min_size=_LEAST,
        text_select=True,
        background_color="#f6f6f7",
    )

    def call(text: str) -> str:
        return dispatcher.answer(text)

    def obey(lines: Iterable[str]) -> None:
        window.events.loaded.wait()
        for line in lines:
            wanted = _page_of(line)
            if wanted is not None:
                window.restore()
                window.show()
                window.run_js(f"window.gogridShow({json.dumps(wanted)})")
        window.destroy()

    window.expose(call)
    window.events.loaded += shown
    if orders is not None:
        threading.Thread(target=obey, args=(orders,), name="orders", daemon=True).start()
    tried = TriedToolkits()
    logging.getLogger("pywebview").addFilter(tried)
    try:
        webview.start(private_mode=True)
    except WebViewException as error:
        raise NoWindowError(f"This machine cannot show the window: {tried.told or error}") from error


class TriedToolkits(logging.Filter):
    """Keeps what pywebview logs of toolkits that could not be loaded; all else passes."""

    def __init__(self) -> None:
        super().__init__()
        self._errors: list[Exception] = []

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, ImportError | ValueError) or not record.getMessage().endswith("cannot be loaded"):
            return True
        self._errors.append(error)
        return False

    @property
    def told(self) -> str:
        """What was missing, and what to do; empty: nothing was kept."""
        if not self._errors:
            return ""
        missing = "; ".join(str(error).rstrip(".") for error in self._errors)
        if sys.platform != "linux":
            return f"{missing}."
        gtk = next((error for error in self._errors if getattr(error, "name", "gi") != "qtpy"), None)
        return f"{missing}. For GTK {gtk_advice('python3-gi and gir1.2-webkit2-4.1', gtk)}."


def orders_of_parent() -> Iterable[str] | None:
    """Standard input, if a program holds its other end; None for a terminal, a file or nothing."""
    try:
        piped = stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return None
    return sys.stdin if piped else None


def _page_of(line: str) -> Page | None:
    try:
        order: AppAsk = decode_app_ask(line.encode())
    except msgspec.MsgspecError:
        return None
    return order.page if isinstance(order, ShowWindow) else None

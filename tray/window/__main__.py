"""`python -m tray.window`: the worker's window, until it is closed.

Exit codes: 0 closed, 2 wrong usage or no window can be shown here.
"""

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from typing import get_args

from gogrid.arguments import CommandParser
from gogrid.errors import GoGridError
from gogrid.place_options import add_place_options, named_places
from gogrid.places import WorkerPlaces
from tray.app.window_process import SHOWN
from tray.instance_messages import Page
from tray.log_files import ROTATED
from tray.window.bridge.dispatch import Dispatcher
from tray.window.bridge.doors import Doors
from tray.window.bridge.errands import WindowErrands
from tray.window.bridge.logs import LogFiles
from tray.window.bridge.sockets import RunningApp, RunningWorker
from tray.window.shell import orders_of_parent, show_window

CANNOT_SHOW = 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = CommandParser(prog="gogrid-window", description="The worker's window.", allow_abbrev=False)
    parser.add_argument("--page", choices=get_args(Page), default="settings", help="what to show first")
    add_place_options(parser)
    options = parser.parse_args(arguments)
    try:
        places = named_places(options)
        _keep_log(places)
        orders = orders_of_parent()
        show_window(options.page, dispatcher(places), orders, _say_shown if orders is not None else lambda: None)
        # A call that was under way has a thread of pywebview's, which waits for the page that is gone, for ever.
        os._exit(0)
    except GoGridError as error:
        print(f"gogrid-window: {error}", file=sys.stderr)
        return CANNOT_SHOW
    except OSError as error:
        print(f"gogrid-window: {error.filename or 'this machine'}: {error.strerror or error}", file=sys.stderr)
        return CANNOT_SHOW
    except KeyboardInterrupt:
        return 0


def _say_shown() -> None:
    """To the app that started it."""
    with suppress(OSError):
        print(SHOWN, flush=True)


def _keep_log(places: WorkerPlaces) -> None:
    """What goes wrong in the window itself; nothing on most days."""
    places.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = RotatingFileHandler(
        places.logs / "window.log", maxBytes=1 << 20, backupCount=ROTATED, encoding="utf-8", delay=True
    )
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[file]
    )


def dispatcher(places: WorkerPlaces) -> Dispatcher:
    """Of the worker that lies at these places."""
    doors = Doors(
        worker=RunningWorker(places.control),
        app=RunningApp(places.instance),
        errands=WindowErrands(places),
        logs=LogFiles(places.logs),
        config=str(places.config),
        logs_folder=str(places.logs),
    )
    return Dispatcher(doors)


if __name__ == "__main__":
    sys.exit(main())

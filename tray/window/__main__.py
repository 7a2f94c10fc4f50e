"""`python -m tray.window`: the worker's window, until it is closed.

Exit codes: 0 closed, 2 wrong usage or no window can be shown here.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from gogrid.arguments import CommandParser
from gogrid.errors import GoGridError
from gogrid.places import WorkerPlaces, worker_places
from tray.instance_messages import Page
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
    parser.add_argument("--config", type=Path, help="config.toml to use")
    parser.add_argument("--data", type=Path, help="folder for state, models and logs")
    options = parser.parse_args(arguments)
    places = worker_places(
        config=options.config,
        data=options.data,
        environment=os.environ,
        platform=sys.platform,
        home=Path.home(),
        user=os.getuid() if hasattr(os, "getuid") else 0,
    )
    try:
        show_window(options.page, dispatcher(places), orders_of_parent(), lambda: None)
    except GoGridError as error:
        print(f"gogrid-window: {error}", file=sys.stderr)
        return CANNOT_SHOW
    except KeyboardInterrupt:
        return 0
    return 0


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

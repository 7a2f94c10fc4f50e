"""`logs`: what the app's processes have logged, and log from now on. Control characters are shown, not obeyed."""

import argparse
import json
import time

from gogrid.arguments import CommandParser
from gogrid.errors import GoGridError
from gogrid.terminal import one_line
from tray.commands.base import Command, Context
from tray.log_files import Follower, Line, tail

_LOOK_S = 0.25
_MOST = 1_000_000


def _words(parser: CommandParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on as it comes, until Ctrl-C")
    parser.add_argument("-n", "--lines", metavar="N", default="50", help="how many of the last lines; 50 if not given")


def _run(options: argparse.Namespace, context: Context) -> int:
    if not options.lines.isdecimal() or int(options.lines) > _MOST:
        raise GoGridError(f"--lines {options.lines!r} is not usable: it must be a whole number from 0 to {_MOST}.")
    folder = context.places.logs
    if not folder.is_dir() and not options.follow:
        raise GoGridError(f"Nothing has been logged yet in {folder}; the worker writes there once it has been started.")
    follower = Follower(folder)
    _print(tail(folder, int(options.lines)), as_json=options.json)
    try:
        while options.follow:
            time.sleep(_LOOK_S)
            _print(follower.poll(), as_json=options.json)
    except KeyboardInterrupt:
        pass  # the usual end of following
    return 0


def _print(lines: list[Line], *, as_json: bool) -> None:
    for line in lines:
        text = json.dumps({"log": line.log, "line": line.text}) if as_json else f"{line.log:7}{one_line(line.text)}"
        print(text, flush=True)


LOGS = Command("logs", "What the worker, the tray and the window have logged.", _words, _run)

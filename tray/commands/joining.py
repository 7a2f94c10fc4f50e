"""`join`: become a worker of a coordinator, at once where one waits for it.

The token travels to the runner by standard input.
"""

import argparse
import os
import sys

from gogrid.arguments import CommandParser
from tray.app.window_process import has_desktop
from tray.commands.base import Command, Context, call
from tray.instance import NoAppError, ask_app
from tray.instance_messages import StartRunner


def _words(parser: CommandParser) -> None:
    parser.add_argument("token", help="the line that starts with ggj1_; - reads it from standard input")
    parser.add_argument("--name", help="what the coordinator should call this worker; default: its host name")


def _run(options: argparse.Namespace, context: Context) -> int:
    token = sys.stdin.readline(8192) if options.token == "-" else options.token  # noqa: S105
    name = ("--name", options.name) if options.name else ()
    code = call(context, "join", name, as_json=options.json, text=token.strip() + "\n")
    if code == 0:
        worker = " ".join(("gogrid-worker", *context.named))
        starts = _waits(context)
        if not options.json:
            start = worker if has_desktop(os.environ, sys.platform) else f"{worker} --headless"
            print(f"It starts now; see: {worker} status" if starts else f"Next: {start}")
    return code


def _waits(context: Context) -> bool:
    """Whether an app runs here, which starts its runner with this."""
    try:
        ask_app(context.places.instance, StartRunner())
    except NoAppError:
        return False
    return True


JOIN = Command("join", "Join a coordinator with a token.", _words, _run)

"""`join`: become a worker of a coordinator, or of another one, at once where an app runs.

The token travels to the runner by standard input. A worker that runs ends before, and goes on for its coordinator if
joining fails: nothing is replaced before the new one has said yes.
"""

import argparse
import os
import sys
import time

from gogrid.arguments import CommandParser
from gogrid.jointoken import parse
from tray.app.window_process import has_desktop
from tray.commands.base import REFUSED, Command, Context, call
from tray.instance import NoAppError, ask_app
from tray.instance_messages import HoldRunner, StartRunner


def _words(parser: CommandParser) -> None:
    parser.add_argument("token", help="the line that starts with ggj1_; - reads it from standard input")
    parser.add_argument("--name", help="what the coordinator should call this worker; default: its host name")


def _run(options: argparse.Namespace, context: Context) -> int:
    token = sys.stdin.readline(8192) if options.token == "-" else options.token  # noqa: S105
    name = ("--name", options.name) if options.name else ()
    parse(token, time.time())  # a mistyped one ends no worker
    _tell_app(context, HoldRunner())
    code = REFUSED
    try:
        code = call(context, "join", name, as_json=options.json, text=token.strip() + "\n")
    finally:
        joined = context.places.membership.exists()
        starts = joined and _tell_app(context, StartRunner())
    if code == 0 and not options.json:
        worker = " ".join(("gogrid-worker", *context.named))
        start = worker if has_desktop(os.environ, sys.platform) else f"{worker} --headless"
        print(f"It starts now; see: {worker} status" if starts else f"Next: {start}")
    return code


def _tell_app(context: Context, order: HoldRunner | StartRunner) -> bool:
    """Whether an app runs here, which does it."""
    try:
        ask_app(context.places.instance, order)
    except NoAppError:
        return False
    return True


JOIN = Command("join", "Join a coordinator with a token.", _words, _run)

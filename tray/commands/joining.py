"""`join`: become a worker of a coordinator, or of another one, at once where an app runs.

The token travels to the runner by standard input. A worker that runs ends before, and goes on for its coordinator if
joining fails: nothing is replaced before the new one has said yes. A link asks this machine's owner first.
"""

import argparse
import os
import sys
import time
from contextlib import suppress

from gogrid.arguments import CommandParser
from gogrid.errors import GoGridError
from gogrid.jointoken import JoinToken, parse
from gogrid.terminal import one_line
from gogrid.typed import typed
from tray.app.window_process import has_desktop
from tray.commands.base import REFUSED, Command, Context, RefusedError, call
from tray.commands.consent import ask_at_terminal, is_yes, question
from tray.instance import NoAppError, ask_app
from tray.instance_messages import HoldRunner, StartRunner


def _words(parser: CommandParser) -> None:
    parser.add_argument("token", help="the line that starts with ggj1_; - reads it from standard input")
    parser.add_argument("--name", help="what the coordinator should call this worker; default: its host name")
    parser.add_argument(
        "--ask", action="store_true", help="ask at the terminal first, and wait there at the end: for links"
    )


def _run(options: argparse.Namespace, context: Context) -> int:
    if not options.ask:
        return _join(options, context)
    try:
        code = _join(options, context)
    except GoGridError as error:
        print(f"gogrid-worker: {one_line(str(error))}", file=sys.stderr)
        code = REFUSED
    with suppress(OSError):
        ask_at_terminal("Press Enter to close this window. ")
    return code


def _join(options: argparse.Namespace, context: Context) -> int:
    token = sys.stdin.readline(8192) if options.token == "-" else options.token  # noqa: S105
    name = ("--name", options.name) if options.name else ()
    read = parse(token, time.time())  # a mistyped one ends no worker
    if options.ask and not _agreed(read, context):
        print("Nothing has changed.")
        return REFUSED
    _tell_app(context, HoldRunner())
    code = REFUSED
    try:
        code = call(context, "join", name, as_json=options.json, text=token.strip() + "\n")
    finally:
        joined = context.places.membership.exists()
        starts = joined and _tell_app(context, StartRunner())
    if code == 0 and not options.json:
        worker = typed(("gogrid-worker", *context.named))
        start = worker if has_desktop(os.environ, sys.platform) else f"{worker} --headless"
        print(f"It starts now; see: {worker} status" if starts else f"Next: {start}")
    return code


def _agreed(token: JoinToken, context: Context) -> bool:
    try:
        return is_yes(ask_at_terminal(question(token, leaves=context.places.membership.exists())))
    except OSError:
        raise RefusedError(
            "A link is followed only when somebody says yes, and there is no terminal to ask at;"
            " paste its token instead: gogrid-worker join TOKEN"
        ) from None


def _tell_app(context: Context, order: HoldRunner | StartRunner) -> bool:
    """Whether an app runs here, which does it."""
    try:
        ask_app(context.places.instance, order)
    except NoAppError:
        return False
    return True


JOIN = Command("join", "Join a coordinator with a token.", _words, _run)

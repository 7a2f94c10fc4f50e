"""`quit`: end the app that runs here, and its worker with it, as its menu's Quit does; returns when both have ended."""

import argparse
import time

from gogrid.file_lock import FileLock, LockHeldError
from runner.control_messages import Refused
from tray.commands.base import Command, Context, RefusedError, nothing_more, say
from tray.instance import ask_app
from tray.instance_messages import Quit

PATIENCE_S = 60.0
_LOOK_AGAIN_S = 0.1


def _run(options: argparse.Namespace, context: Context) -> int:
    answer = ask_app(context.places.instance, Quit())
    if isinstance(answer, Refused):
        raise RefusedError(f"The GoGrid that runs here refuses: {answer.reason}")
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            with FileLock(context.places.app_lock):
                return say(options.json, {"state": "ended"}, "ended")
        except LockHeldError:
            if time.monotonic() > until:
                raise RefusedError(
                    f"It was asked to end and has not within {PATIENCE_S:.0f} s; see: gogrid-worker logs"
                ) from None
        time.sleep(_LOOK_AGAIN_S)


QUIT = Command("quit", "End the app that runs here; what runs goes on on other workers.", nothing_more, _run)

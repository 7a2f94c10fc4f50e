"""`pause`, `finish` and `resume`: what the owner tells the running worker."""

import argparse
from datetime import datetime

from gogrid.arguments import CommandParser
from gogrid.errors import GoGridError
from runner.control_messages import Ask, AskPause, AskResume, Done
from tray.app.orders import FINISHING
from tray.commands.base import Command, Context, nothing_more, running, say, unexpected
from tray.until import after, until


def _pause_words(parser: CommandParser) -> None:
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--for", dest="length", metavar="TIME", help="how long, such as 30m, 1h or 2d")
    end.add_argument("--until", dest="end", metavar="WHEN", help="tomorrow, or a time of day such as 18:00")


def _pause(options: argparse.Namespace, context: Context) -> int:
    now = datetime.now()  # the owner's words mean the clock on the wall
    try:
        if options.length is not None:
            end = after(options.length, now)
        elif options.end is not None:
            end = until(options.end, now)
        else:
            return _order(options, context, AskPause(), "paused")
    except ValueError as error:
        flag, value = ("--for", options.length) if options.length is not None else ("--until", options.end)
        raise GoGridError(f"{flag} {value!r} is not usable: it must be {error}.") from None
    at = end.timestamp()
    return _order(options, context, AskPause(until=at), f"paused until {end:%Y-%m-%d %H:%M}", at)


def _finish(options: argparse.Namespace, context: Context) -> int:
    return _order(options, context, AskPause(reason=FINISHING, finish=True), "finishing")


def _resume(options: argparse.Namespace, context: Context) -> int:
    return _order(options, context, AskResume(), "resumed")


def _order(options: argparse.Namespace, context: Context, order: Ask, done: str, end: float = 0.0) -> int:
    answer = running(context, order)
    if not isinstance(answer, Done):
        raise unexpected(answer)
    text = f"{done}; {answer.note}" if answer.note else done
    return say(options.json, {"state": done.split()[0], **({"until": end} if end else {})}, text)


PAUSE = Command("pause", "Take no new jobs; what runs goes on on other workers, at once.", _pause_words, _pause)
FINISH = Command("finish", "Take no new jobs; what runs ends here.", nothing_more, _finish)
RESUME = Command("resume", "Take jobs again.", nothing_more, _resume)

"""`pause`, `finish` and `resume`: what the owner tells the running worker."""

import argparse
import re
from datetime import datetime, timedelta

from gogrid.arguments import CommandParser
from gogrid.config import cut
from gogrid.errors import GoGridError
from runner.control_messages import Ask, AskPause, AskResume, AskStatus, Done, WorkerStatus
from tray.app.orders import FINISHING
from tray.commands.base import Command, Context, nothing_more, running, say, unexpected
from tray.until import after, until

_MINUS = re.compile(r"-[0-9]")
_SOON = timedelta(minutes=5)


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
        raise GoGridError(f"{flag} {cut(value)} is not usable: it must be {error}.") from None
    at = end.timestamp()
    return _order(options, context, AskPause(until=at), f"paused until {shown_end(end, now)}", at)


def shown_end(end: datetime, now: datetime) -> str:
    """With its seconds where it comes soon."""
    soon = end - now < _SOON
    return end.strftime("%Y-%m-%d %H:%M:%S" if soon else "%Y-%m-%d %H:%M")


def _finish(options: argparse.Namespace, context: Context) -> int:
    return _order(options, context, AskPause(reason=FINISHING, finish=True), "finishing")


def _resume(options: argparse.Namespace, context: Context) -> int:
    """Ends the owner's own pause, and no other reason to stand back."""
    before = running(context, AskStatus())
    running(context, AskResume())
    after = running(context, AskStatus())
    if not isinstance(before, WorkerStatus) or not isinstance(after, WorkerStatus):
        raise unexpected(after)
    told = {"state": "resumed", **({"holds": after.holds} if after.holds else {})}
    return say(options.json, told, resumed_text(before, after))


def resumed_text(before: WorkerStatus, after: WorkerStatus) -> str:
    done = "resumed" if before.order else "no pause of yours"
    return f"{done}; it still stands back: {'; '.join(after.holds)}" if after.holds else done


def _order(options: argparse.Namespace, context: Context, order: Ask, done: str, end: float = 0.0) -> int:
    answer = running(context, order)
    if not isinstance(answer, Done):
        raise unexpected(answer)
    text = f"{done}; {answer.note}" if answer.note else done
    return say(options.json, {"state": done.split()[0], **({"until": end} if end else {})}, text)


def _arrange_pause(words: list[str]) -> list[str]:
    """A time with a minus is a time, too, and refused as one."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in ("--for", "--until") and _MINUS.match(word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


PAUSE = Command(
    "pause", "Take no new jobs; what runs goes on on other workers, at once.", _pause_words, _pause, _arrange_pause
)
FINISH = Command("finish", "Take no new jobs; what runs ends here.", nothing_more, _finish)
RESUME = Command("resume", "Take jobs again.", nothing_more, _resume)

"""What every command is made of: its words, what it does, and how it reaches the running worker or the runner's code.

Exit codes: 0 done, 1 refused or something is wrong, 2 wrong usage or cannot run.
"""

import argparse
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gogrid.arguments import CommandParser
from gogrid.errors import GoGridError
from gogrid.place_options import place_words
from gogrid.places import WorkerPlaces
from gogrid.terminal import visible
from gogrid.typed import typed
from runner.control_messages import Answer, Ask, Refused
from tray.commands.last_word import last_word
from tray.control_client import NobodyThereError, NotRunningError, ask
from tray.instance import NoAppError, ask_app
from tray.instance_messages import AppState, AppStatus, AskApp
from tray.runner_command import runner_command

REFUSED = 1


class RefusedError(GoGridError):
    """The worker says no; exit code 1."""


class FailedError(GoGridError):
    """The runner's own command failed and has said why on standard error."""

    def __init__(self, code: int) -> None:
        super().__init__("")
        self.code = code


@dataclass(frozen=True, slots=True)
class Context:
    places: WorkerPlaces
    named: tuple[str, ...]
    """`--config` and `--data` as they were given on the command line."""
    launcher: Path | None = None
    """The installer's copy of this program, where a newer one may run in its place."""

    @property
    def shared(self) -> tuple[str, ...]:
        """For a process that is to use the same places."""
        return place_words(self.places)


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    help: str
    words: Callable[[CommandParser], None]
    """Adds its arguments, but for `--json`."""
    run: Callable[[argparse.Namespace, Context], int]
    """Returns the exit code."""
    arrange: Callable[[list[str]], list[str]] = lambda words: words
    """Turns older forms of its command line into the one that `words` describes."""


def nothing_more(parser: CommandParser) -> None:
    """For commands without arguments."""


def running(context: Context, question: Ask) -> Answer:
    """Ask the worker that must be running.

    Raises:
        NotRunningError: there is none; says why where the app knows.
        RefusedError: it says no.
    """
    try:
        answer = ask(context.places.control, question)
    except NotRunningError as error:
        raise _why_none(context, error) or error from None
    if isinstance(answer, Refused):
        raise RefusedError(f"The worker refuses: {answer.reason}")
    return answer


def _why_none(context: Context, found: NotRunningError) -> NotRunningError | None:
    """What the app that runs here says of the worker that does not; without an app, what its folder shows."""
    try:
        app = ask_app(context.places.instance, AskApp())
    except NoAppError:
        last = last_word(context.places)
        if last:
            return NotRunningError(f"No worker is running here; the last one was given up: {last}")
        new = isinstance(found, NobodyThereError) and not context.places.membership.exists()
        return _not_joined(context) if new else None
    if not isinstance(app, AppStatus) or app.runner is not None:
        return None
    if app.state is AppState.NOT_JOINED:
        return _not_joined(context)
    if app.state is AppState.STARTING:
        return NotRunningError("The worker is starting and does not answer yet; ask again in a few seconds.")
    return NotRunningError(f"GoGrid runs here, but its worker does not: {app.sentence}")


def _not_joined(context: Context) -> NotRunningError:
    join = typed(("gogrid-worker", *context.named, "join", "TOKEN"))
    return NotRunningError(f"This worker has not joined a coordinator yet; paste its token: {join}")


def maybe_running(context: Context, question: Ask) -> Answer | None:
    """The same; None where none is running."""
    try:
        return running(context, question)
    except NotRunningError:
        return None


def unexpected(answer: object) -> GoGridError:
    return GoGridError(f"The worker answers with {type(answer).__name__}, which is no answer to this.")


def call(context: Context, errand: str, flags: Sequence[str], *, as_json: bool, text: str = "") -> int:
    """Run one of the runner's own commands; it writes to our output."""
    command = runner_command([errand, *context.shared, *flags, *(["--json"] if as_json else [])])
    return subprocess.run(command, input=text, text=True, check=False).returncode


def fetch(context: Context, errand: Sequence[str]) -> bytes:
    """The JSON that one of the runner's own commands prints, given its name and words. Raises `FailedError`."""
    command = runner_command([errand[0], *context.shared, "--json", *(["--", *errand[1:]] if errand[1:] else [])])
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if not done.stdout:
        raise FailedError(done.returncode)
    return done.stdout


def say(as_json: object, value: object, text: str) -> int:
    """Print one JSON value, or the text for people, in which control characters are shown instead of obeyed."""
    print(msgspec.json.format(msgspec.json.encode(value)).decode() if as_json else visible(text))
    return 0

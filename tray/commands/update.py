"""`update check|status|apply|rollback|pin|unpin|on|off`: newer versions of this program, and which may come.

A running app is asked, since it knows when jobs can be let go; without one the same is done here, a change of what
starts under the app's lock.
"""

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from gogrid.arguments import CommandParser
from gogrid.errors import GoGridError
from gogrid.file_lock import FileLock, LockHeldError
from gogrid.terminal import one_line
from runner.control_messages import AskChange, Done, Refused, Settings
from tray.commands.base import Command, Context, RefusedError, fetch, maybe_running, say
from tray.instance import NoAppError, ask_app
from tray.instance_messages import ApplyUpdate, AppStatus, AskApp, CheckUpdates, RollBackUpdate, UpdateState
from tray.updating.settings import update_settings
from tray.updating.start import FROM_SOURCE, Updatable, installed
from tray.updating.work import UpdateWork
from updates.client.boot import Here
from updates.client.errors import CopyError
from updates.client.layout import Copy, Installation, read_copy
from updates.client.probation import tried
from updates.errors import UpdateError

_VERBS = {
    "status": "Show which version runs, and what is known of newer ones.",
    "check": "Look for a newer version now, and download it.",
    "apply": "Restart into the version that is ready; jobs end or move first.",
    "rollback": "Go back to the version before this one, which is not installed again.",
    "pin": "Install this version only, and no other.",
    "unpin": "Install newer versions again.",
    "on": "Look for newer versions.",
    "off": "Do not look for newer versions.",
}
_LOOK_S = 0.3
_LONGEST_S = 1800.0


class _Status(msgspec.Struct, frozen=True):
    version: str
    seq: int
    channel: str
    state: str
    newer: str
    sentence: str


def _words(parser: CommandParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=CommandParser)
    for verb, words in _VERBS.items():
        own = verbs.add_parser(verb, help=words, description=words, allow_abbrev=False)
        if verb == "pin":
            own.add_argument("version", help="such as 1.4.0")
        own.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="machine-readable output")


def _run(options: argparse.Namespace, context: Context) -> int:
    try:
        updatable = _updatable(context)
        if updatable is None:
            return _from_source(options)
        if options.verb in ("pin", "unpin", "on", "off"):
            return _set(options, context)
        if options.verb == "status":
            running = _app_state(context)
            copy = updatable.installation.copy if running is None else _answering(updatable.installation)
            return _show(options, copy, running or _own_state(updatable, context))
        if options.verb == "check":
            return _show(options, updatable.installation.copy, _check(updatable, context))
        return _restart(options, updatable, context)
    except UpdateError as error:
        raise RefusedError(str(error)) from error


def _updatable(context: Context) -> Updatable | None:
    installation = installed(context.places)
    if installation is None:
        return None
    launcher = context.launcher or installation.place / sys.executable
    try:
        own = read_copy(launcher.parent).seq
    except CopyError:
        own = installation.copy.seq
    return Updatable(installation, Here(launcher, own))


def _from_source(options: argparse.Namespace) -> int:
    if options.verb != "status":
        raise RefusedError(FROM_SOURCE)
    return say(options.json, {"state": "unsupported", "sentence": FROM_SOURCE}, FROM_SOURCE)


def _set(options: argparse.Namespace, context: Context) -> int:
    setting, value = {
        "pin": ("updates.pin", getattr(options, "version", "")),
        "unpin": ("updates.pin", ""),
        "on": ("updates.enabled", "true"),
        "off": ("updates.enabled", "false"),
    }[options.verb]
    answer = maybe_running(context, AskChange(setting=setting, value=value))
    if answer is None:
        fetch(context, ("config", setting, value))
    elif not isinstance(answer, Done):
        raise GoGridError("The worker gives no answer that this version knows.")
    _nudge(context)
    text = f"updates: {options.verb}" + (f" {value}" if options.verb == "pin" else "")
    return say(options.json, {"setting": setting, "value": value}, text)


def _nudge(context: Context) -> None:
    """The app looks again, now that other things are allowed."""
    try:
        ask_app(context.places.instance, CheckUpdates())
    except NoAppError:
        return


def _app_state(context: Context) -> UpdateState | None:
    """As the running app has it; None: none runs."""
    try:
        answer = ask_app(context.places.instance, AskApp())
    except NoAppError:
        return None
    return answer.update if isinstance(answer, AppStatus) else None


def _answering(installation: Installation) -> Copy:
    """What runs where the app has answered: while a new version is on trial, the one before it only speaks here."""
    state = installation.load()
    if not tried(state):
        return installation.copy
    try:
        return read_copy(installation.folder.version(state.installed))
    except CopyError:
        return installation.copy


def _check(updatable: Updatable, context: Context) -> UpdateState:
    try:
        _accepted(ask_app(context.places.instance, CheckUpdates()))
    except NoAppError:
        return _check_here(updatable, context)
    deadline = time.monotonic() + _LONGEST_S
    time.sleep(_LOOK_S)
    while (state := _app_state(context)) is not None and time.monotonic() < deadline:
        if state.state not in ("checking", "downloading"):
            return state
        time.sleep(_LOOK_S)
    if state is None:
        return UpdateState(state="current", sentence="The app has ended meanwhile, or restarts into what it found.")
    raise GoGridError("The app does not come to an end with looking; see: gogrid-worker logs")


def _check_here(updatable: Updatable, context: Context) -> UpdateState:
    settings = update_settings(msgspec.json.decode(fetch(context, ("config",)), type=Settings))
    if not settings.enabled:
        raise RefusedError("Updates are switched off here; switch them on with: gogrid-worker update on")
    work = updatable.work(context.places)
    if trial := _trial(work):
        raise RefusedError(trial)
    found = work.check(settings)
    for complaint in filter(None, (found.warning, *work.fetch(found, threading.Event()))):
        print(f"gogrid-worker: {one_line(complaint)}", file=sys.stderr)
    return _state(work, found.sentence, settings.pinned)


def _own_state(updatable: Updatable, context: Context) -> UpdateState:
    work = updatable.work(context.places)
    if trial := _trial(work):
        return UpdateState(state="current", sentence=trial)
    return _state(work, work.note() or "No app runs here; look with: gogrid-worker update check", None)


def _trial(work: UpdateWork) -> str:
    """What is to be said while no app answers because a new version is being tried; empty: none is."""
    version = work.tried()
    return version and (
        f"Version {version} is on trial here and does not answer yet; wait until it does or the version before it is"
        " back, two minutes at most."
    )


def _state(work: UpdateWork, sentence: str, pinned: str | None) -> UpdateState:
    ready = work.ready(pinned)
    if ready is None:
        return UpdateState(state="current", sentence=sentence)
    version = work.version_of(ready)
    return UpdateState(
        state="ready", version=version, sentence=f"Version {version} is ready; gogrid-worker update apply"
    )


def _restart(options: argparse.Namespace, updatable: Updatable, context: Context) -> int:
    question = ApplyUpdate() if options.verb == "apply" else RollBackUpdate()
    try:
        _accepted(ask_app(context.places.instance, question))
    except NoAppError:
        version = _switch_here(options.verb, updatable, context)
        return say(options.json, {"version": version}, f"version {version} runs from the next start on")
    return say(options.json, {"state": "restarting"}, "the worker restarts when its jobs have ended or moved")


def _switch_here(verb: str, updatable: Updatable, context: Context) -> str:
    with _lock(context):
        work = updatable.work(context.places)
        if verb == "rollback":
            return work.roll_back()
        if trial := _trial(work):
            raise RefusedError(trial)
        settings = update_settings(msgspec.json.decode(fetch(context, ("config",)), type=Settings))
        ready = work.ready(settings.pinned)
        if ready is None:
            raise RefusedError("There is no newer version ready; look for one with: gogrid-worker update check")
        work.switch(ready)
        return work.version_of(ready)


@contextmanager
def _lock(context: Context) -> Iterator[None]:
    """Raises `RefusedError`: an app has begun to run meanwhile."""
    try:
        with FileLock(context.places.app_lock):
            yield
    except LockHeldError:
        raise RefusedError("GoGrid starts here right now, or another command changes it; try again.") from None


def _accepted(answer: object) -> None:
    if isinstance(answer, Refused):
        raise RefusedError(answer.reason)


def _show(options: argparse.Namespace, copy: Copy, update: UpdateState) -> int:
    status = _Status(copy.version, copy.seq, copy.channel, update.state, update.version, update.sentence)
    head = f"version {copy.version} (release {copy.seq}, channel {copy.channel})"
    return say(options.json, status, f"{head}\n{update.sentence}" if update.sentence else head)


UPDATE = Command("update", "Newer versions of this program: look, switch, go back, pin.", _words, _run)

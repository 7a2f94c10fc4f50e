"""`doctor`: what works on this machine and what does not: the runner's checks, and those of the desktop beside them."""

import argparse
from concurrent.futures import ThreadPoolExecutor

import msgspec

from gogrid.protocol.worker_report import Readiness
from runner.control_messages import AskStatus, WorkerStatus
from tray.autostart.choose import autostart
from tray.commands.base import REFUSED, Command, Context, fetch, nothing_more, say
from tray.commands.status_text import standing
from tray.control_client import NotRunningError, ask
from tray.icon.surroundings import why_no_tray
from tray.instance import NoAppError, ask_app
from tray.instance_messages import AppStatus, AskApp


class Check(msgspec.Struct, frozen=True):
    name: str
    ok: bool
    finding: str


def _run(options: argparse.Namespace, context: Context) -> int:
    with ThreadPoolExecutor(1) as other:
        runners = other.submit(fetch, context, ("doctor",))
        app = _app(context)
        ours = (*_worker(context), _tray(app), _login(context), _updates(app))
        found = msgspec.json.decode(runners.result(), type=tuple[Check, ...])
        checks = (*(_with_engine(check, app) for check in found), *ours)
    say(options.json, checks, findings_text(checks))
    return 0 if all(check.ok for check in checks) else REFUSED


def findings_text(checks: tuple[Check, ...]) -> str:
    width = max(len(check.name) for check in checks)
    return "\n".join(f"{'ok   ' if check.ok else 'WRONG'}  {check.name:{width}}  {check.finding}" for check in checks)


def _with_engine(check: Check, app: AppStatus | None) -> Check:
    """Where the engine is missing, what the running worker does about it."""
    if check.name != "engine" or check.ok or app is None or app.runner is None or not app.runner.engine:
        return check
    return Check("engine", False, app.runner.engine)


def _app(context: Context) -> AppStatus | None:
    try:
        answer = ask_app(context.places.instance, AskApp())
    except NoAppError:
        return None
    return answer if isinstance(answer, AppStatus) else None


def _worker(context: Context) -> tuple[Check, ...]:
    """What the worker that runs does now; nothing where none runs."""
    try:
        status = ask(context.places.control, AskStatus())
    except NotRunningError:
        return ()
    return (running_worker(status),) if isinstance(status, WorkerStatus) else ()


def running_worker(status: WorkerStatus) -> Check:
    """A worker that stands back as its owner wants it is well."""
    ready = status.readiness is Readiness.READY
    well = status.connected if ready else status.readiness is not Readiness.UNABLE
    back = "" if ready or not well else "it stands back now, "
    return Check("worker", well, f"{back}{standing(status)}")


def _tray(app: AppStatus | None) -> Check:
    """Without an icon the worker works all the same, so this is never wrong."""
    if app is not None and app.icon:
        return Check("tray", True, "the icon is shown")
    missing = why_no_tray()
    if missing is None:
        return Check("tray", True, "this desktop can show the icon")
    return Check("tray", True, f"no icon: {missing.reason} The worker runs without one; use gogrid-worker status")


def _login(context: Context) -> Check:
    state = autostart(context.places, context.named, context.launcher).state()
    if isinstance(state, str):
        return Check("start at login", True, state)
    return Check("start at login", True, "yes" if state else "no; to switch it on: gogrid-worker autostart on")


def _updates(app: AppStatus | None) -> Check:
    if app is None:
        return Check("updates", True, "not known while the app does not run")
    update = app.update
    if update.state == "unsupported":
        return Check("updates", True, "this installation is updated by whoever installed it")
    words = " ".join(word for word in (update.state, update.version) if word)
    return Check("updates", update.state != "failed", f"{words}: {update.sentence}" if update.sentence else words)


DOCTOR = Command(
    "doctor", "Check sandbox, device, coordinator, clock, disk, models, desktop and updates.", nothing_more, _run
)

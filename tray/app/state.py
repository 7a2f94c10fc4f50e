"""What the app shows of the worker. Pure: what is known and `now` are given.

Promises: every state comes with a sentence that says why; work that comes in bursts does not make the icon flicker; a
coordinator that is away for a moment is no trouble yet.
"""

from dataclasses import dataclass, replace
from datetime import tzinfo

from gogrid.moments import shown_moment
from gogrid.protocol.worker_report import Readiness
from runner.control_messages import WorkerStatus
from tray.instance_messages import AppState, UpdateState
from tray.supervision.restart import Life, Phase

_WORKED_LATELY_S = 3.0
_AWAY_S = 10.0
_MODELS_NAMED = 2
_RUNS = Life(Phase.RUNS)
_STATES = {Phase.NOT_JOINED: AppState.NOT_JOINED, Phase.HELD: AppState.STARTING}
_NO_UPDATER = UpdateState()


@dataclass(frozen=True, slots=True)
class Choices:
    """The settings that the menu shows."""

    max_vram: str = ""
    """As written: `50%`, `6GB`; empty: not known."""
    max_ram: str = ""
    pause_on_activity: bool | None = None
    """None: this runner has no such setting."""
    run_on_battery: bool | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """Everything the app has been told."""

    life: Life = _RUNS
    status: WorkerStatus | None = None
    """As the runner of this `life` said last."""
    choices: Choices = Choices()
    update: UpdateState = _NO_UPDATER
    autostart: bool | None = None
    """None: this machine cannot start it at login."""
    window: bool = True
    """This machine can show the window."""


@dataclass(frozen=True, slots=True)
class View:
    """What is shown; the menu and the tooltip are functions of it."""

    state: AppState
    sentence: str
    known: Known


class Looker:
    """Makes views of what is known; remembers when there was work, and since when the coordinator is away."""

    def __init__(self, zone: tzinfo | None = None) -> None:
        """Args: `zone` in which times of day are told; None: this machine's."""
        self._zone = zone
        self._worked_at: float | None = None
        self._worked_on = ""
        self._jobs_ended: int | None = None
        self._away_since: float | None = None

    def view(self, known: Known, now: float) -> View:
        """Args: `now` in monotonic seconds."""
        if known.life.phase is not Phase.RUNS:
            self._away_since = None
            state = _STATES.get(known.life.phase, AppState.TROUBLE)
            return View(state, _capital(known.life.reason), replace(known, status=None))
        if known.status is None:
            return View(AppState.STARTING, "Starting", known)
        self._remember(known.status, now)
        state, sentence = self._of_status(known.status, now)
        return View(state, sentence, known)

    def _remember(self, status: WorkerStatus, now: float) -> None:
        ended = status.jobs_done + status.jobs_failed
        if status.jobs or (self._jobs_ended is not None and ended > self._jobs_ended):
            self._worked_at = now
        if status.jobs:
            self._worked_on = _work(status)
        self._jobs_ended = ended
        if status.connected:
            self._away_since = None
        elif self._away_since is None:
            self._away_since = now

    def _of_status(self, status: WorkerStatus, now: float) -> tuple[AppState, str]:
        if status.readiness is Readiness.UNABLE:
            return AppState.TROUBLE, _capital(status.reason)
        if status.readiness is not Readiness.READY:
            return AppState.PAUSED, self._paused(status)
        if self._away_since is not None:
            state = AppState.STARTING if now - self._away_since < _AWAY_S else AppState.TROUBLE
            return state, f"Not connected to {status.coordinator}: {why_not(status)}"
        if self._worked_at is not None and now - self._worked_at < _WORKED_LATELY_S:
            return AppState.WORKING, f"Working{self._worked_on and ': '}{self._worked_on}"
        if status.engine_state:
            state = AppState.STARTING if status.engine_state == "coming" else AppState.TROUBLE
            return state, _capital(status.engine)
        return AppState.READY, "Ready for work"

    def _paused(self, status: WorkerStatus) -> str:
        """With all reasons; the first is as the coordinator is told."""
        first = status.reason
        if status.paused_until:
            first += f" until {shown_moment(status.paused_until, '%a %H:%M', self._zone)}"
        reasons = "; ".join((first, *status.holds[1:]))
        if status.order == "finish" and status.jobs:
            return f"Finishing: {reasons}"
        return _capital(reasons) if reasons.startswith("paused") else f"Paused: {reasons}"


def why_not(status: WorkerStatus) -> str:
    """Why it is not connected, for a sentence that says already that it is not."""
    return status.connection.removeprefix("not connected: ")


def _work(status: WorkerStatus) -> str:
    """In words that change only when what is worked on does: an open menu is not to be redrawn for each request."""
    models = sorted({job.model for job in status.jobs if job.model})
    shown = models[:_MODELS_NAMED]
    if len(models) > _MODELS_NAMED:
        shown.append(f"{len(models) - _MODELS_NAMED} more models")
    if any(not job.model for job in status.jobs):
        shown.append("a script")
    return ", ".join(shown)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]

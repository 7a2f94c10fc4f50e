"""What the app makes of what it is told: states, sentences, notes, orders."""

from datetime import UTC, datetime
from typing import Literal

import pytest

from gogrid.protocol.worker_report import Readiness
from runner.control_messages import AskChange, AskPause, AskResume, RunningJob, Settings, SettingShown, WorkerStatus
from tray.app.choices import choices, notifications
from tray.app.notes import note
from tray.app.orders import order
from tray.app.state import Choices, Known, Looker, View
from tray.app.window_process import has_desktop
from tray.icon.messages import Action, Kind, Note
from tray.instance_messages import AppState, UpdateState
from tray.supervision.restart import Life, Phase

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def status(readiness: Readiness = Readiness.READY, reason: str = "ready", **more: object) -> WorkerStatus:
    known: dict[str, object] = {
        "software": "0.1.0", "worker": "box", "readiness": readiness, "reason": reason, "coordinator": "hub:8443",
        "connected": True, "connection": "no answer", "device": "CPU", "devices": (), "sandbox": "bwrap",
        "python_jobs": True, "jobs": (), "models": (), "jobs_done": 0, "jobs_failed": 0, "pid": 7,
    }  # fmt: skip
    return WorkerStatus(**{**known, **more})  # type: ignore[arg-type]


def job(model: str) -> RunningJob:
    return RunningJob(job_id="j", kind="chat", model=model, seconds=1.0)


def seen(looker: Looker, now: float, known: Known) -> tuple[AppState, str]:
    view = looker.view(known, now)
    return view.state, view.sentence


def test_a_runner_that_has_not_answered_yet_is_starting() -> None:
    assert seen(Looker(), 0, Known()) == (AppState.STARTING, "Starting")


def test_a_worker_that_gets_its_engine_says_how_far_it_is() -> None:
    words = "fetching its engine: 42 % of 322 MB"
    coming = status(engine=words, engine_state="coming")
    assert seen(Looker(), 0, Known(status=coming)) == (AppState.STARTING, "Fetching its engine: 42 % of 322 MB")
    missing = status(engine="no engine: the disk is full", engine_state="missing")
    assert seen(Looker(), 0, Known(status=missing)) == (AppState.TROUBLE, "No engine: the disk is full")
    newer = status(engine="fetching a newer engine: 1 % of 322 MB")
    assert seen(Looker(), 0, Known(status=newer)) == (AppState.READY, "Ready for work")


def test_work_that_comes_in_bursts_does_not_make_the_icon_flicker() -> None:
    looker = Looker()
    assert seen(looker, 0, Known(status=status(jobs=(job("a"),)))) == (AppState.WORKING, "Working: a")
    assert seen(looker, 2, Known(status=status(jobs_done=1))) == (AppState.WORKING, "Working: a")
    assert seen(looker, 4, Known(status=status(jobs_done=2))) == (AppState.WORKING, "Working: a")  # between two looks
    assert seen(looker, 7.1, Known(status=status(jobs_done=2))) == (AppState.READY, "Ready for work")


def test_jobs_done_before_the_first_look_are_no_work_of_now() -> None:
    assert seen(Looker(), 0, Known(status=status(jobs_done=5)))[0] is AppState.READY


def test_what_is_worked_on_is_named_briefly() -> None:
    jobs = (job("c"), job("a"), job("b"), job("a"), job(""))
    assert seen(Looker(), 0, Known(status=status(jobs=jobs)))[1] == "Working: a, b, 1 more models, a script"


def test_a_coordinator_that_is_away_is_trouble_only_after_a_while() -> None:
    looker, away = Looker(), Known(status=status(connected=False))
    assert seen(looker, 0, away) == (AppState.STARTING, "Not connected to hub:8443: no answer")
    assert seen(looker, 9.9, away)[0] is AppState.STARTING
    assert seen(looker, 10, away)[0] is AppState.TROUBLE
    assert seen(looker, 11, Known(status=status()))[0] is AppState.READY
    assert seen(looker, 12, away)[0] is AppState.STARTING


def test_every_reason_is_told_and_when_a_pause_ends() -> None:
    until = NOON.timestamp() + 5400
    paused = status(
        Readiness.PAUSED, "paused by its owner", holds=("paused by its owner", "on battery"), paused_until=until
    )
    assert seen(Looker(UTC), 0, Known(status=paused)) == (
        AppState.PAUSED,
        "Paused by its owner until Sun 13:30; on battery",
    )


def test_what_the_last_runner_said_does_not_outlive_it() -> None:
    crashed = Life(Phase.WAITS, "the worker was killed by signal 9; starting it again in 1 s", crashed=True)
    view = Looker().view(Known(life=crashed, status=status()), 0)
    assert (view.state, view.known.status) == (AppState.TROUBLE, None)


# --- notes ---


def view_of(known: Known) -> View:
    return Looker().view(known, 100.0)


READY = view_of(Known(status=status()))
PAUSED = view_of(Known(status=status(Readiness.PAUSED, "on battery")))
WORKING = view_of(Known(status=status(jobs=(job("a"),))))
GIVEN_UP = view_of(Known(life=Life(Phase.GIVEN_UP, "the worker crashed 6 times in a row")))
UPDATE = view_of(Known(status=status(), update=UpdateState(state="ready", version="0.2.0")))


def test_normal_work_is_never_told() -> None:
    for before in (None, READY, PAUSED, WORKING):
        for after in (READY, PAUSED, WORKING):
            assert note(before, after, "trouble") is None


@pytest.mark.parametrize("level", ["trouble", "all"])
def test_trouble_that_does_not_mend_itself_is_told_once(level: Literal["trouble", "all"]) -> None:
    expected = Note(title="GoGrid needs you", text="The worker crashed 6 times in a row")
    assert note(READY, GIVEN_UP, level) == expected
    assert note(None, GIVEN_UP, level) == expected
    assert note(GIVEN_UP, GIVEN_UP, level) is None
    assert note(READY, UPDATE, level) == Note(title="GoGrid", text="Version 0.2.0 is ready; restart to update.")
    assert note(UPDATE, UPDATE, level) is None


def test_who_wants_no_notes_gets_none_and_who_wants_all_gets_pauses() -> None:
    assert note(READY, GIVEN_UP, "none") is None
    assert note(READY, PAUSED, "all") == Note(title="GoGrid", text="Paused: on battery")
    assert note(READY, WORKING, "all") is None


# --- orders and settings ---


def test_what_a_click_asks_of_the_worker() -> None:
    assert order(Action(Kind.PAUSE, "hour"), NOON) == AskPause(until=NOON.timestamp() + 3600)
    assert order(Action(Kind.PAUSE, "tomorrow"), NOON) == AskPause(until=NOON.timestamp() + 20 * 3600)
    assert order(Action(Kind.PAUSE, "resumed"), NOON) == AskPause()
    assert order(Action(Kind.RESUME), NOON) == AskResume()
    assert order(Action(Kind.FINISH), NOON) == AskPause(reason="taking nothing new, as its owner asked", finish=True)
    change = AskChange(setting="worker.max_vram", value="25%")
    assert order(Action(Kind.CHANGE, "worker.max_vram=25%"), NOON) == change
    assert order(Action(Kind.QUIT), NOON) is None


def shown(key: str, value: str, origin: str = "default") -> SettingShown:
    return SettingShown(key=key, value=value, origin=origin, env="", help="", live=True)


def test_the_menu_shows_the_settings_that_count() -> None:
    settings = (
        shown("worker.max_vram", "90%"), shown("worker.max_vram_gb", "6.0", "/c.toml"),
        shown("worker.pause_on_activity", "true"), shown("worker.run_on_battery", "false"),
        shown("worker.notifications", "all"),
    )  # fmt: skip
    told = Settings(settings=settings, file="/c.toml")
    assert choices(told) == Choices(max_vram="6.0 GB", pause_on_activity=True, run_on_battery=False)
    assert notifications(told) == "all"
    assert choices(Settings(settings=settings[:1], file="")) == Choices(max_vram="90%")


def test_a_window_needs_a_display_on_linux() -> None:
    assert not has_desktop({}, "linux")
    assert has_desktop({"DISPLAY": ":0"}, "linux")
    assert has_desktop({"WAYLAND_DISPLAY": "wayland-0"}, "linux")
    assert has_desktop({}, "darwin")

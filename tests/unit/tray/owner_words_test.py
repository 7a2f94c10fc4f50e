"""What an owner reads where things are not as usual, and what is made of unusual words."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from gogrid.protocol.worker_report import Readiness
from runner.control_messages import WorkerStatus
from tests.fakes.worker_status import READY
from tray.app.menu import menu, tooltip
from tray.app.notes import note
from tray.app.state import Known, Looker, View
from tray.commands.bench import who_is_told
from tray.commands.config import CONFIG
from tray.commands.orders import PAUSE, resumed_text, shown_end
from tray.commands.registry import command_parser
from tray.commands.status_text import status_text

BROKEN = "/c/config.toml is not valid TOML"


def view(status: WorkerStatus) -> View:
    return Looker().view(Known(status=status), 0.0)


def test_a_worker_whose_coordinator_is_away_is_not_called_ready() -> None:
    away = replace(READY, connected=False, connection="not connected: no answer from hub:8443")
    assert view(away).sentence == "Not connected to hub:8443: no answer from hub:8443"
    assert status_text(away).splitlines()[1] == "State        not connected: no answer from hub:8443"
    paused = replace(away, readiness=Readiness.PAUSED, reason="on battery")
    assert status_text(paused).splitlines()[1] == "State        paused: on battery"


def test_settings_that_broke_are_shown_everywhere_and_noted_once() -> None:
    broken = replace(READY, settings_trouble=BROKEN)
    assert f"Settings     stay as they were: {BROKEN}" in status_text(broken).splitlines()
    assert tooltip(view(broken)) == f"GoGrid: Ready for work · settings stay as they were: {BROKEN}"
    labels = [item.label for item in menu(view(broken))]
    assert labels[:2] == ["Ready for work", f"settings stay as they were: {BROKEN}"]
    told = note(view(READY), view(broken), "trouble")
    assert told is not None
    assert told.text == f"The settings stay as they were: {BROKEN}"
    assert note(view(broken), view(broken), "trouble") is None
    assert note(view(READY), view(broken), "none") is None
    assert note(view(broken), view(READY), "trouble") is None


def test_resume_says_what_else_holds() -> None:
    in_use = "the computer is in use"
    gate = replace(READY, readiness=Readiness.PAUSED, reason=in_use, holds=(in_use,))
    paused = replace(gate, order="pause")
    assert resumed_text(gate, gate) == "no pause of yours; it still stands back: the computer is in use"
    assert resumed_text(paused, gate) == "resumed; it still stands back: the computer is in use"
    assert resumed_text(paused, READY) == "resumed"
    assert resumed_text(READY, READY) == "no pause of yours"


def test_a_short_pause_is_told_with_its_seconds() -> None:
    now = datetime(2026, 11, 22, 16, 1, 40)
    assert shown_end(now + timedelta(seconds=30), now) == "2026-11-22 16:02:10"
    assert shown_end(now + timedelta(hours=1), now) == "2026-11-22 17:01"


def test_a_time_with_a_minus_is_a_time() -> None:
    words = command_parser().parse_args(["pause", *PAUSE.arrange(["--for", "-1h"])])
    assert words.length == "-1h"
    assert PAUSE.arrange(["--for", "1h", "--json"]) == ["--for", "1h", "--json"]


def test_config_alone_is_config_show() -> None:
    assert CONFIG.arrange([]) == ["show"]
    assert CONFIG.arrange(["--origin"]) == ["show", "--origin"]


def test_a_measurement_is_not_said_to_be_told_where_nobody_was_joined() -> None:
    told = who_is_told(joined=False, connected=False)
    assert told.startswith("The coordinator will be told once this worker has joined one, and")


def test_a_measurement_is_only_said_to_be_told_while_somebody_hears_it() -> None:
    assert who_is_told(joined=True, connected=True).startswith("The coordinator is told, and")
    later = "The coordinator will be told once this worker is connected to it, and"
    assert who_is_told(joined=True, connected=False).startswith(later)

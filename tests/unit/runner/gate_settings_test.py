"""How an owner writes what the gates do, and the hours they mean."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gogrid.config import resolve
from gogrid.errors import ConfigError
from gogrid.places import worker_places
from runner.config import SETTINGS, WorkerConfig, load_config, shown_values
from runner.gates.schedule import Hours, next_opening, open_now, parse_schedule
from runner.gates.settings import GateSettings

WEEK = ("2026-11-23", "2026-11-24", "2026-11-25", "2026-11-26", "2026-11-27", "2026-11-28", "2026-11-29")
"""Monday to Sunday."""


def load(folder: Path, text: str = "", env: dict[str, str] | None = None) -> WorkerConfig:
    (folder / "config.toml").write_text(text)
    places = worker_places(config=None, data=folder, environment={}, platform="linux", home=folder, user=1)
    return load_config(places, flags={}, environment=env or {})


def at(day: str, clock: str) -> datetime:
    return datetime.fromisoformat(f"{day}T{clock}")


def test_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path).gates == GateSettings(
        pause_on_activity=True, activity_idle_s=180.0, run_on_battery=False, pause_on_fullscreen=True,
        exclusive_apps=(), max_temperature=0, max_other_load=0.5, schedule=(),
    )  # fmt: skip


FILE = """
[worker]
pause_on_activity = false
activity_idle = "10m"
run_on_battery = true
pause_on_fullscreen = false
exclusive_apps = ["Game.exe", "blender"]
max_temperature = 83
max_other_load = "25%"
schedule = ["mon-fri 18:00-08:00", "sat,sun 00:00-24:00"]
"""


def test_every_key_and_its_variable(tmp_path: Path) -> None:
    everyday, weekend = Hours(frozenset(range(5)), 18 * 60, 8 * 60), Hours(frozenset({5, 6}), 0, 24 * 60)
    wanted = GateSettings(False, 600.0, True, False, ("game.exe", "blender"), 83, 0.25, (everyday, weekend))
    assert load(tmp_path, FILE).gates == wanted
    env = {
        "GOGRID_PAUSE_ON_ACTIVITY": "no",
        "GOGRID_ACTIVITY_IDLE": "600",
        "GOGRID_RUN_ON_BATTERY": "1",
        "GOGRID_PAUSE_ON_FULLSCREEN": "off",
        "GOGRID_EXCLUSIVE_APPS": "game.exe, Blender",
        "GOGRID_MAX_TEMPERATURE": "83",
        "GOGRID_MAX_OTHER_LOAD": "25%",
        "GOGRID_SCHEDULE": "mon-fri 18:00-08:00; sat,sun 00:00-24:00",
    }
    assert load(tmp_path, "", env).gates == wanted


def test_what_is_shown_can_be_written_back(tmp_path: Path) -> None:
    config = load(tmp_path, FILE)
    found = resolve(SETTINGS, flags={}, environment={}, file=tmp_path / "config.toml")
    words = shown_values(found)
    again = {setting.env: words[setting.key] for setting in SETTINGS}
    assert load(tmp_path, "", again).gates == config.gates
    assert (words["worker.activity_idle"], words["worker.max_other_load"]) == ("10m", "25%")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("activity_idle = '0s'", "from 1s to 24h such as 3m"),
        ("activity_idle = 'soon'", "from 1s to 24h such as 3m"),
        ("run_on_battery = 'perhaps'", "true or false"),
        ("exclusive_apps = ['/usr/bin/game']", "without a path"),
        ("exclusive_apps = 3", "names of programs"),
        ("max_temperature = 20", "from 30 to 120, or 0"),
        ("max_temperature = 'hot'", "from 30 to 120, or 0"),
        ("max_other_load = '0%'", "from 1% to 100%"),
        ("max_other_load = 0.5", "from 1% to 100%"),
        ("schedule = ['mon-fri 18:00']", "mon-fri 18:00-08:00"),
        ("schedule = ['monday 18:00-20:00']", "mon-fri 18:00-08:00"),
        ("schedule = ['mon 25:00-26:00']", "mon-fri 18:00-08:00"),
        ("schedule = ['mon 10:60-12:00']", "mon-fri 18:00-08:00"),
        ("schedule = ['mon 10:00-10:00']", "mon-fri 18:00-08:00"),
        ("schedule = ['mon 10:00-12:00 tue']", "mon-fri 18:00-08:00"),
        ("schedule = [5]", "mon-fri 18:00-08:00"),
    ],
)
def test_a_bad_value_is_one_line_that_says_what_is_allowed(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"[worker]\n{line}\n")
    assert words in str(caught.value)
    assert f"worker.{line.split()[0]}" in str(caught.value)
    assert "\n" not in str(caught.value)


NIGHTS = parse_schedule("mon-fri 18:00-08:00")


@pytest.mark.parametrize(
    ("day", "clock", "works", "opens"),
    [
        (0, "07:59", False, "18:00"),  # Sunday's night is not one of them
        (0, "17:59", False, "18:00"),
        (0, "18:00", True, ""),
        (1, "07:59", True, ""),
        (1, "08:00", False, "18:00"),
        (4, "23:59", True, ""),
        (5, "07:59", True, ""),  # Friday's night ends on Saturday
        (5, "08:00", False, "Mon 18:00"),
        (6, "17:59", False, "Mon 18:00"),
        (6, "18:01", False, "18:00"),
    ],
)
def test_nights_belong_to_the_day_on_which_they_begin(day: int, clock: str, works: bool, opens: str) -> None:
    local = at(WEEK[day], clock)
    assert open_now(NIGHTS, local) is works
    if not works:
        assert next_opening(NIGHTS, local) == opens


def test_ways_to_write_hours() -> None:
    assert parse_schedule("") == parse_schedule([]) == ()
    assert open_now((), at(WEEK[0], "03:00"))
    assert parse_schedule("18:00-24:00")[0].days == frozenset(range(7))
    assert parse_schedule("Sat-Mon 1:00-2:00")[0].days == frozenset({5, 6, 0})
    assert parse_schedule("mon 01:00-02:00, tue,wed 03:00-04:00") == parse_schedule(
        ["mon 01:00-02:00", "tue, wed 03:00-04:00"]
    )


@pytest.mark.parametrize(
    ("instant", "works"),
    [
        ("2026-03-29T00:59:00+00:00", False),  # 01:59, a minute before the clock jumps to 03:00
        ("2026-03-29T01:00:00+00:00", True),  # 03:00: the hours from 02:30 to 04:00 have begun
        ("2026-03-29T01:59:00+00:00", True),
        ("2026-03-29T02:00:00+00:00", False),  # 04:00
        ("2026-10-25T00:29:00+00:00", False),  # 02:29, for the first time
        ("2026-10-25T00:30:00+00:00", True),
        ("2026-10-25T02:59:00+00:00", True),  # 03:59, an hour longer than on other days
        ("2026-10-25T03:00:00+00:00", False),  # 04:00
        ("2026-10-26T03:00:00+00:00", False),
    ],
)
def test_summer_time_moves_no_hours(instant: str, works: bool) -> None:
    local = datetime.fromisoformat(instant).astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None)
    assert open_now(parse_schedule("02:30-04:00"), local) is works

"""A settings' file that is broken while its worker runs: nothing changes, and everybody who asks hears of it."""

import logging
import sys
from pathlib import Path

import pytest

from gogrid.config import nearest
from gogrid.errors import ConfigError
from gogrid.places import WorkerPlaces, worker_places
from runner.config import SETTINGS
from runner.settings_file import FileStamp
from runner.settings_source import SettingsSource

KEYS = [setting.key for setting in SETTINGS]


@pytest.fixture
def places(tmp_path: Path) -> WorkerPlaces:
    return worker_places(
        config=tmp_path / "config.toml", data=tmp_path, environment={}, platform="linux", home=tmp_path, user=1
    )


def value(settings: SettingsSource, key: str) -> str:
    return next(one.value for one in settings.shown().settings if one.key == key)


def test_a_file_that_broke_leaves_the_settings_and_is_told_once(
    places: WorkerPlaces, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    places.config.write_text("[worker]\nmax_ram = '25%'\n")
    settings = SettingsSource(places, {}, {})
    settings.load()
    assert settings.shown().trouble == ""
    places.config.write_text("[worker]\nmax_rum = '30%'\n")
    assert settings.load_again() is None
    assert settings.load_again() is None
    assert "did you mean worker.max_ram?" in settings.trouble
    assert settings.shown().trouble == settings.trouble
    assert value(settings, "worker.max_ram") == "25%"
    places.config.write_text("[worker]\nmax_ram = '30%'\n")
    fresh = settings.load_again()
    assert fresh is not None
    assert (str(fresh.max_ram), settings.trouble) == ("30%", "")
    assert settings.load_again() is not None
    told = [record.message.partition(":")[0] for record in caplog.records]
    assert told == ["the settings stay as they were", "the settings are fine again"]


@pytest.mark.skipif(sys.platform == "win32", reason="a link needs rights there")
@pytest.mark.parametrize("link_to_nothing", [False, True], ids=["gone", "link"])
def test_a_file_that_is_taken_away_gives_nobody_more_than_its_owner_lent(
    places: WorkerPlaces, link_to_nothing: bool
) -> None:
    places.config.write_text("[worker]\nmax_ram = '25%'\n")
    settings = SettingsSource(places, {}, {})
    settings.load()
    places.config.unlink()
    if link_to_nothing:
        places.config.symlink_to(places.config.with_name("nowhere"))
    assert settings.load_again() is None
    assert "is gone; put it back" in settings.trouble
    assert settings.shown().trouble == settings.trouble
    assert value(settings, "worker.max_ram") == "25%"
    places.config.unlink(missing_ok=True)
    places.config.write_text("")
    assert settings.load_again() is not None
    assert settings.trouble == ""


def test_a_worker_without_a_file_goes_on_without_one(places: WorkerPlaces) -> None:
    settings = SettingsSource(places, {}, {})
    settings.load()
    assert settings.load_again() is not None
    assert settings.shown().trouble == ""


@pytest.mark.skipif(sys.platform == "win32", reason="a link needs rights there")
def test_a_link_in_a_circle_where_no_file_was_is_seen_and_told(places: WorkerPlaces) -> None:
    settings, seen = SettingsSource(places, {}, {}), FileStamp(places.config)
    settings.load()
    places.config.symlink_to(places.config)
    assert seen.changed()
    assert settings.load_again() is None
    assert "cannot be read" in settings.trouble


def test_settings_that_were_never_fine_are_refused(places: WorkerPlaces) -> None:
    places.config.write_text("[worker\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        SettingsSource(places, {}, {}).shown()


@pytest.mark.parametrize(
    ("file", "environment", "ram"),
    [
        ("[worker\n", {"GOGRID_MAX_RAM": "20%"}, "20%"),
        ("[worker]\nnosuch = 1\n", {}, "50%"),
        ("[worker]\nmax_ram = '20%'\n", {"GOGRID_CPU_CORES": "many"}, "50%"),
    ],
)
def test_who_has_to_go_on_gets_settings_and_the_trouble(
    places: WorkerPlaces, file: str, environment: dict[str, str], ram: str
) -> None:
    places.config.write_text(file)
    settings = SettingsSource(places, {}, environment)
    assert str(settings.load_anyway().max_ram) == ram
    assert settings.trouble


def test_what_was_not_set_is_not_said_to_be_removed(places: WorkerPlaces) -> None:
    done = SettingsSource(places, {}, {}).change("device", "", running=True)
    assert done.note == f"worker.device was not set in {places.config}; it is auto (default)."
    assert not places.config.exists()
    places.config.write_text("[worker]\n")
    assert "was not set" in SettingsSource(places, {}, {}).change("device", "", running=True).note


def test_a_limits_other_name_is_not_removed_in_silence(places: WorkerPlaces) -> None:
    places.config.write_text("[worker]\nmax_vram_gb = 8\n")
    done = SettingsSource(places, {}, {}).change("max_vram", "6GB", running=True)
    assert ", and removed worker.max_vram_gb, the limit's other name; it counts at once." in done.note
    assert (done.key, done.counts) == ("worker.max_vram", "now")


@pytest.mark.parametrize(
    ("name", "running", "counts"),
    [("max_ram", True, "no"), ("device", True, "start"), ("cpu_cores", False, "start"), ("name", True, "joining")],
)
def test_from_when_a_change_counts_is_said_to_programs_too(
    places: WorkerPlaces, name: str, running: bool, counts: str
) -> None:
    settings = SettingsSource(places, {"worker.max_ram": "40%"}, {})
    words = {"device": "cpu", "cpu_cores": "1"}.get(name, "10%")
    assert settings.change(name, words, running=running).counts == counts


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("worker.port", "coordinator.port"),
        ("max_rum", "worker.max_ram"),
        ("max_memory", "worker.max_ram"),
        ("worker.max_vrm", "worker.max_vram"),
        ("pin", "updates.pin"),
        ("zzzzqqq", ""),
    ],
)
def test_the_nearest_key_is_suggested(name: str, meant: str) -> None:
    assert nearest(name, KEYS) == meant

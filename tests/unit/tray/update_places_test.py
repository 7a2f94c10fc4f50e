"""Where the updater asks, whom it trusts there, and what starts this program anew. Pure."""

from pathlib import Path

import pytest

from runner.control_messages import Settings, SettingShown
from tray.updating.settings import UpdateSettings, asked, update_settings
from tray.updating.start import launcher

GRID = "https://grid.example:8443"


def told(**values: str) -> Settings:
    shown = tuple(
        SettingShown(key=f"updates.{key}", value=value, origin="file", env="", help="", live=True)
        for key, value in values.items()
    )
    return Settings(settings=shown, file="config.toml")


def test_settings_as_the_worker_tells_them():
    found = update_settings(told(enabled="false", endpoints="https://a/u, https://b/u", pin="1.2.0"))
    assert found == UpdateSettings(enabled=False, endpoints=("https://a/u", "https://b/u"), pinned="1.2.0")
    assert update_settings(told(enabled="true", endpoints="", pin="")) == UpdateSettings()


def test_without_endpoints_the_coordinator_is_asked_and_only_its_identity_is_trusted():
    (place,) = asked(UpdateSettings(), GRID, "linux-x86_64", "1.0")
    assert (place.check, place.pinned) == (f"{GRID}/updates/linux-x86_64/1.0", True)
    assert asked(UpdateSettings(), "", "linux-x86_64", "1.0") == ()


@pytest.mark.parametrize(
    ("template", "pinned"),
    [
        (f"{GRID}/updates/{{{{target}}}}/x", True),
        ("https://GRID.example:8443/u", True),
        ("https://grid.example/u", False),
        ("https://grid.example:8444/u", False),
        ("https://grid.example.evil:8443/u", False),
        ("http://127.0.0.1:8443/u", False),
    ],
)
def test_the_pin_belongs_to_the_coordinators_address_alone(template: str, pinned: bool):
    (place,) = asked(UpdateSettings(endpoints=(template,)), GRID, "t", "1")
    assert place.pinned is pinned


def test_an_appimage_is_started_anew_only_by_who_lies_in_it():
    inside, image = Path("/tmp/.mount_x/usr/gogrid-worker"), {"APPIMAGE": "/home/a/GoGrid", "APPDIR": "/tmp/.mount_x"}
    assert launcher(inside, image) == Path("/home/a/GoGrid")
    assert launcher(Path("/opt/gogrid/gogrid-worker"), image) == Path("/opt/gogrid/gogrid-worker")
    assert launcher(inside, {}) == inside

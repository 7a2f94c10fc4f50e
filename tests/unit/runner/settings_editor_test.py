"""An owner's editor saves `config.toml` while the worker writes into it: neither loses what the other wrote."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gogrid.errors import ConfigError
from gogrid.places import worker_places
from runner import settings_file
from runner.settings_file import change_setting
from runner.settings_source import SettingsSource

OWN = "# what I lend\n[worker]\nrun_on_battery = true   # always plugged in\n"
EDITED = OWN + "max_temperature = 80\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(OWN)
    return path


def editor_saves(config: Path, how: str, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> None:
    """In the middle of the worker's own write, after it has read the file."""
    left = [times]
    check: Callable[..., None] = settings_file.check_together

    def saving(values: object) -> None:
        if left[0] > 0:
            left[0] -= 1
            text = EDITED + "#" * left[0]
            if how == "in place":
                config.write_text(text)
            else:
                config.with_name("fresh").write_text(text)
                os.replace(config.with_name("fresh"), config)
        check(values)

    monkeypatch.setattr(settings_file, "check_together", saving)


@pytest.mark.parametrize("how", ["in place", "by another file"])
def test_what_an_editor_saves_while_the_worker_writes_is_not_lost(
    config: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor_saves(config, how, monkeypatch)
    change_setting(config, "max_ram", "30%")
    text = config.read_text()
    assert text.startswith(EDITED)
    assert 'max_ram = "30%"' in text


def test_a_file_that_is_written_over_and_over_is_left_alone(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor_saves(config, "in place", monkeypatch, times=100)
    with pytest.raises(ConfigError, match="over and over"):
        change_setting(config, "max_ram", "30%")
    assert "max_ram" not in config.read_text()
    assert [path.name for path in config.parent.iterdir()] == ["config.toml"]


def saved_meanwhile(config: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """An editor has emptied the file, and fills it while the worker waits; how long that waited."""
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        config.write_text(EDITED)

    monkeypatch.setattr(settings_file.time, "sleep", wait)
    config.write_text("")
    return waits


def test_an_editor_that_has_emptied_the_file_to_save_it_loses_nothing(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = saved_meanwhile(config, monkeypatch)
    change_setting(config, "max_ram", "30%")
    assert len(waits) == 1
    assert config.read_text().startswith(EDITED)


def test_a_file_that_is_just_being_saved_does_not_lift_the_owners_limits_meanwhile(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = worker_places(
        config=config, data=config.parent, environment={}, platform="linux", home=config.parent, user=0
    )
    source = SettingsSource(places, {}, {})
    saved_meanwhile(config, monkeypatch)
    fresh = source.load_again()
    assert fresh is not None
    assert fresh.gates.run_on_battery


def test_a_file_that_was_emptied_on_purpose_is_not_waited_for(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = saved_meanwhile(config, monkeypatch)
    os.utime(config, (1_700_000_000, 1_700_000_000))
    change_setting(config, "max_ram", "30%")
    assert waits == []

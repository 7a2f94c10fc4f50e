"""Settings that are written while a worker runs or does not: kept whole, or refused; and from when they count."""

import os
from pathlib import Path

import pytest

from gogrid.errors import ConfigError
from gogrid.places import WorkerPlaces, worker_places
from gogrid.sizes import exact_duration, exact_size, parse_duration, parse_size
from runner.config import AT_JOINING, AT_START, SETTINGS, load_config
from runner.settings_file import change_setting, write_settings
from runner.settings_source import SettingsSource
from runner.survey import taken_up


@pytest.fixture
def places(tmp_path: Path) -> WorkerPlaces:
    return worker_places(
        config=tmp_path / "config.toml", data=tmp_path, environment={}, platform="linux", home=tmp_path, user=1
    )


def source(places: WorkerPlaces, flags: dict[str, object] | None = None, **environment: str) -> SettingsSource:
    return SettingsSource(places, flags or {}, environment)


def value(settings: SettingsSource, key: str) -> tuple[str, str]:
    one = next(one for one in settings.shown().settings if one.key == key)
    return one.value, one.origin


def test_every_setting_is_shown_with_the_place_that_won(places: WorkerPlaces) -> None:
    places.config.write_text("[worker]\nmax_ram = '25%'\ncpu_cores = 3\ndisk_cap = '12GiB'\n")
    settings = source(places, {"worker.cpu_cores": "2"}, GOGRID_DEVICE="cpu")
    assert {one.key for one in settings.shown().settings} == {one.key for one in SETTINGS}
    assert value(settings, "worker.max_ram") == ("25%", str(places.config))
    assert value(settings, "worker.cpu_cores") == ("2", "--cpu-cores")
    assert value(settings, "worker.device") == ("cpu", "GOGRID_DEVICE")
    assert value(settings, "worker.disk_cap") == ("12GiB", str(places.config))
    assert value(settings, "worker.executor_idle") == ("10m", "default")
    assert value(settings, "worker.max_vram") == ("90%", "default")
    assert value(settings, "worker.pause_on_activity") == ("true", "default")


def test_what_is_shown_can_be_written_and_means_the_same(places: WorkerPlaces) -> None:
    before = load_config(places, flags={}, environment={})
    for one in source(places).shown().settings:
        if one.value:
            change_setting(places.config, one.key, one.value)
    assert load_config(places, flags={}, environment={}) == before
    for count in (0, 1, 999, 10**9, 12 << 30, 10**9 + 1):
        assert parse_size(exact_size(count)) == count
    for seconds in (0.0, 0.5, 5.0, 90.0, 600.0, 86400.0):
        assert parse_duration(exact_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("key", "words", "running", "when"),
    [
        ("max_vram", "6GB", True, "it counts at once."),
        ("max_vram", "6GB", False, "it counts when the worker starts (none is running)."),
        ("device", "cpu", True, "it counts from the worker's next start."),
        ("name", "den", True, "it counts when this worker joins a coordinator."),
        ("log_level", "", True, "(the default is info); it counts at once."),
    ],
)
def test_from_when_a_value_counts_is_said(places: WorkerPlaces, key: str, words: str, running: bool, when: str) -> None:
    places.config.write_text("[worker]\nlog_level = 'debug'\n")
    assert source(places).change(key, words, running=running).note.endswith(when)


@pytest.mark.parametrize("name", ["a b", "a\nb", "nämé", "x" * 65], ids=["space", "line", "accent", "long"])
def test_a_name_that_joining_would_refuse_is_not_written(places: WorkerPlaces, name: str) -> None:
    with pytest.raises(ConfigError, match="1 to 64 printable ASCII characters without spaces"):
        source(places).change("name", name, running=True)
    assert not places.config.exists()


@pytest.mark.parametrize(
    ("settings", "winner"),
    [
        ({"GOGRID_MAX_VRAM": "3GB"}, "GOGRID_MAX_VRAM is given, which says 3GB."),
        ({"GOGRID_MAX_VRAM_GB": "3"}, "GOGRID_MAX_VRAM_GB is given, which says 3GB."),
    ],
)
def test_a_value_that_does_not_count_is_said_to_not_count(
    places: WorkerPlaces, settings: dict[str, str], winner: str
) -> None:
    note = source(places, **settings).change("max_vram", "6GB", running=True).note
    assert note.endswith(f"it does not count as long as {winner}")
    by_flag = source(places, {"worker.max_ram": "1GB"}).change("max_ram", "2GB", running=True).note
    assert "does not count as long as --max-ram is given, which says 1GB." in by_flag


def test_what_is_said_to_count_at_once_is_what_a_running_worker_takes_up(places: WorkerPlaces) -> None:
    """Every key is written with another value; those that count later leave what the running worker has."""
    other = {
        "coordinator.host": "h", "coordinator.port": "1", "updates.enabled": "false", "updates.endpoints": "https://x",
        "worker.max_vram_gb": "1", "worker.max_vram": "1GB", "worker.max_ram": "1GB", "worker.cpu_cores": "1",
        "worker.disk_cap": "1GB", "worker.device": "cpu", "worker.gpu": "1", "worker.gpu_scripts": "true",
        "worker.executor_idle": "1s", "worker.model_turn": "1s", "worker.notifications": "all",
        "worker.log_level": "debug",
    }  # fmt: skip
    running = load_config(places, flags={}, environment={})
    for key, text in other.items():
        change_setting(places.config, key, text)
        fresh = load_config(places, flags={}, environment={})
        assert fresh != running, key
        assert (taken_up(running, fresh) == running) == (key in AT_START), key
        change_setting(places.config, key, "")
    assert not (AT_START | AT_JOINING) - {one.key for one in SETTINGS}


def test_a_link_to_the_settings_stays_a_link_and_its_target_is_written(places: WorkerPlaces, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "worker.toml"
    target.parent.mkdir()
    target.write_text("# mine\n[worker]\ncpu_cores = 1 # one\n")
    places.config.symlink_to(target)
    change_setting(places.config, "max_ram", "1GB")
    assert places.config.is_symlink()
    assert target.read_text() == '# mine\n[worker]\ncpu_cores = 1 # one\nmax_ram = "1GB"\n'
    assert [path.name for path in target.parent.iterdir()] == ["worker.toml"]


def test_a_read_only_file_is_one_clear_line(places: WorkerPlaces) -> None:
    places.config.write_text("[worker]\n")
    places.config.chmod(0o444)
    with pytest.raises(ConfigError, match="is read-only and stays as it is; make it writable") as refused:
        change_setting(places.config, "max_ram", "1GB")
    assert "\n" not in str(refused.value)
    assert places.config.read_text() == "[worker]\n"


def test_the_file_keeps_its_permissions_and_a_new_one_is_private(places: WorkerPlaces) -> None:
    change_setting(places.config, "max_ram", "1GB")
    assert places.config.stat().st_mode & 0o777 == 0o600
    places.config.chmod(0o640)
    change_setting(places.config, "max_ram", "2GB")
    assert places.config.stat().st_mode & 0o777 == 0o640


def test_a_file_the_worker_could_not_start_with_is_not_written(places: WorkerPlaces) -> None:
    for text in ("[worker]\ndevice = 'gpu'\n", "[worker\n", "worker = 1\n"):
        places.config.write_text(text)
        with pytest.raises(ConfigError, match=r"config\.toml") as refused:
            change_setting(places.config, "max_ram", "1GB")
        assert f".{places.config.name}.{os.getpid()}" not in str(refused.value)
        assert places.config.read_text() == text
    places.config.write_text("[worker]\ndevice = 'gpu'\n")
    change_setting(places.config, "device", "cpu")
    assert list(places.config.parent.iterdir()) == [places.config]


def test_two_names_of_one_limit_are_never_both_written(places: WorkerPlaces) -> None:
    write_settings(places.config, {"worker.max_vram": "6GB"})
    with pytest.raises(ConfigError, match="two names of one limit"):
        write_settings(places.config, {"worker.max_vram_gb": 8.0})
    change_setting(places.config, "max_vram_gb", "8")
    assert places.config.read_text() == "[worker]\nmax_vram_gb = 8\n"


@pytest.mark.parametrize(
    ("key", "words", "written"),
    [
        ("worker.name", "12", '"12"'),
        ("worker.gpu", "1", "1"),
        ("worker.gpu", "RTX 4090", '"RTX 4090"'),
        ("worker.gpu_scripts", "TRUE", "true"),
        ("updates.endpoints", "[\"https://a\", 'https://b']", '["https://a", "https://b"]'),
        ("updates.endpoints", "https://a, https://b", '"https://a, https://b"'),
        ("worker.disk_cap", "200GB", '"200GB"'),
        ("worker.name", "true", '"true"'),
    ],
)
def test_words_are_written_as_the_kind_of_value_the_setting_takes(
    places: WorkerPlaces, key: str, words: str, written: str
) -> None:
    change_setting(places.config, key, words)
    assert places.config.read_text() == f"[{key.partition('.')[0]}]\n{key.rpartition('.')[2]} = {written}\n"

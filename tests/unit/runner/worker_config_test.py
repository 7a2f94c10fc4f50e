"""The worker's settings and the places of its files."""

from pathlib import Path

import pytest

from gogrid.errors import ConfigError
from gogrid.places import WorkerPlaces, worker_places
from runner.config import DeviceChoice, WorkerConfig, load_config
from runner.limits import Limit

HOME = Path("/home/ann")


def load(tmp_path: Path, text: str = "", env: dict[str, str] | None = None, **flags: object) -> WorkerConfig:
    (tmp_path / "config.toml").write_text(text)
    places = WorkerPlaces(tmp_path / "config.toml", tmp_path, tmp_path / "s", tmp_path / "a")
    keys = {f"worker.{name}": value for name, value in flags.items()}
    return load_config(places, flags=keys, environment=env or {})


FIRST_RELEASE = """
[coordinator]
host = "your-server.com"
port = 8443

[updates]
enabled = true
endpoints = ["https://your-server.com:8443/updates/{{target}}/{{current_version}}"]

[worker]
max_vram_gb = 8.0
pause_on_activity = true
"""


def test_the_first_releases_file_is_understood(tmp_path: Path) -> None:
    config = load(tmp_path, FIRST_RELEASE)
    assert (config.host, config.port) == ("your-server.com", 8443)
    assert config.max_vram == Limit(bytes=8 * 10**9)
    assert config.gates.pause_on_activity is True
    assert config.update_endpoints == ("https://your-server.com:8443/updates/{{target}}/{{current_version}}",)


def test_defaults_need_no_file(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.host is None
    assert config.device is DeviceChoice.AUTO
    assert config.executor_idle_s == 600
    assert config.max_vram == Limit(share=0.9)


def test_flag_beats_environment_beats_file(tmp_path: Path) -> None:
    file, env = (
        "[worker]\ncpu_cores = 1\nmax_ram = '10%'\ndevice = 'cpu'",
        {
            "GOGRID_CPU_CORES": "2",
            "GOGRID_MAX_RAM": "2GB",
        },
    )
    config = load(tmp_path, file, env, cpu_cores="3")
    assert (config.cpu_cores, config.max_ram, config.device) == (3, Limit(bytes=2 * 10**9), DeviceChoice.CPU)


def test_the_first_releases_variables_are_understood(tmp_path: Path) -> None:
    env = {
        "GOGRID_COORDINATOR_HOST": "grid.example.org",
        "GOGRID_COORDINATOR_PORT": "9000",
        "GOGRID_UPDATE_ENDPOINTS": "https://a/u, https://b/u https://c/u",
    }
    config = load(tmp_path, FIRST_RELEASE, env)
    assert (config.host, config.port) == ("grid.example.org", 9000)
    assert config.update_endpoints == ("https://a/u", "https://b/u", "https://c/u")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_vram_gb = 8", Limit(bytes=8 * 10**9)),
        ("max_vram_gb = '80%'", Limit(share=0.8)),
        ("max_vram_gb = '12GB'", Limit(bytes=12 * 10**9)),
        ("max_vram = '12GiB'", Limit(bytes=12 << 30)),
        ("max_vram = '50%'", Limit(share=0.5)),
    ],
)
def test_ways_to_write_the_vram_limit(tmp_path: Path, text: str, expected: Limit) -> None:
    assert load(tmp_path, f"[worker]\n{text}").max_vram == expected


def test_the_vram_limits_other_name_wins_only_from_a_stronger_place(tmp_path: Path) -> None:
    assert load(tmp_path, "[worker]\nmax_vram_gb = 8", {"GOGRID_MAX_VRAM": "4GB"}).max_vram == Limit(bytes=4 * 10**9)
    assert load(tmp_path, "[worker]\nmax_vram = '4GB'", {"GOGRID_MAX_VRAM_GB": "2"}).max_vram == Limit(bytes=2 * 10**9)
    with pytest.raises(ConfigError, match="two names of one limit"):
        load(tmp_path, "[worker]\nmax_vram_gb = 8\nmax_vram = '4GB'")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[worker]\nmax_vram = '12'", r"worker\.max_vram = '12' .*config\.toml.*12GB"),
        ("[worker]\nmax_vram_gb = -1", "gigabytes such as 8"),
        ("[worker]\nmax_vram = '120%'", "1% to 100%"),
        ("[worker]\ncpu_cores = 'all'", "whole number"),
        ("[worker]\ndevice = 'gpu'", "one of auto, cpu, cuda, mps"),
        ("[worker]\ndisk_cap = 5", "size with its unit"),
        ("[worker]\nexecutor_idle = 'soon'", "duration"),
        ("[worker]\nlog_level = 'loud'", "debug, info, warning, error"),
        ("[worker]\nmax_vramgb = 8", r"did you mean worker\.max_vram"),
        ("[coordinator]\nhost = 'https://x'", "without a scheme"),
        ("[coordinator]\nport = 70000", "1 to 65535"),
        ("[updates]\nendpoints = 'ftp://x'", "https://"),
        ("[worker\n", "not valid TOML"),
    ],
)
def test_a_bad_value_is_one_line_that_says_what_where_and_what_is_allowed(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert "config.toml" in str(caught.value)


def test_a_limit_never_exceeds_what_is_there() -> None:
    assert Limit(bytes=100).of(50) == 50
    assert Limit(share=0.8).of(1000) == 800


def places(platform: str = "linux", env: dict[str, str] | None = None, **given: Path) -> WorkerPlaces:
    return worker_places(
        config=given.get("config"),
        data=given.get("data"),
        environment=env or {},
        platform=platform,
        home=HOME,
        user=1000,
    )


def test_files_lie_where_each_platform_expects_them() -> None:
    assert places().config == HOME / ".config/gogrid-worker/config.toml"
    assert places().data == HOME / ".local/share/gogrid-worker"
    assert places(env={"XDG_CONFIG_HOME": "/x", "XDG_DATA_HOME": "rel"}).config == Path("/x/gogrid-worker/config.toml")
    assert places(env={"XDG_DATA_HOME": "rel"}).data == HOME / ".local/share/gogrid-worker"
    assert places("darwin").config == HOME / "Library/Application Support/GoGrid Worker/config.toml"
    assert places("win32", {"APPDATA": "/r", "LOCALAPPDATA": "/l"}).config == Path("/r/GoGrid Worker/config.toml")


def test_logs_lie_where_each_platforms_users_look_for_them() -> None:
    assert places().logs == HOME / ".local/state/gogrid-worker/logs"
    assert places(env={"XDG_STATE_HOME": "/s"}).logs == Path("/s/gogrid-worker/logs")
    assert places("darwin").logs == HOME / "Library/Logs/GoGrid Worker"
    assert places("win32", {"LOCALAPPDATA": "/l"}).logs == Path("/l/GoGrid Worker/logs")
    assert places(data=Path("/d")).logs == Path("/d/logs")
    assert places("darwin", {"GOGRID_WORKER_DATA": "/d"}).logs == Path("/d/logs")


def test_a_data_folder_of_its_own_moves_everything() -> None:
    moved = places(data=Path("/d"))
    assert (moved.config, moved.control, moved.models) == (
        Path("/d/config.toml"),
        Path("/d/control.sock"),
        Path("/d/models"),
    )
    by_variable = places(env={"GOGRID_WORKER_DATA": "/d", "XDG_CONFIG_HOME": "/x"})
    assert by_variable == moved
    assert places(env={"GOGRID_WORKER_DATA": "/e", "GOGRID_WORKER_CONFIG": "/c.toml"}, data=Path("/d")).config == Path(
        "/c.toml"
    )


def test_a_socket_path_too_long_for_the_kernel_is_replaced_by_a_short_private_one() -> None:
    deep = Path("/" + "d" * 120)
    assert places(data=deep).control.parent == Path("/tmp/gogrid-1000")
    assert places(env={"XDG_RUNTIME_DIR": "/run/user/1000"}, data=deep).control.parent == Path("/run/user/1000/gogrid")
    assert places(data=deep).control != places(data=deep / "other").control


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1.evil.example/u", "http://localhost@evil.example/u", "https://[x/u"]
)
def test_a_disguised_update_endpoint_is_refused_when_the_setting_is_read(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="https:// addresses"):
        load(tmp_path, env={"GOGRID_UPDATE_ENDPOINTS": f"https://a/u {address}"})

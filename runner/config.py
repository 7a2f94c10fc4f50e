"""The worker's settings: every key of `config.toml`, and a `GOGRID_*` variable for each.

Frozen and passed down; a changed file makes a new value. Precedence is flag > environment > file > default, also
between the two names of the VRAM limit. Refuses, as one line, whatever it does not understand.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from gogrid.addresses import DEFAULT_PORT
from gogrid.config import Resolved, Setting, boolean, integer, log_level, port, resolve, text
from gogrid.errors import ConfigError
from gogrid.places import WorkerPlaces
from gogrid.sizes import exact_duration, exact_size, parse_duration, parse_size
from runner.gates.schedule import Hours, parse_schedule
from runner.gates.settings import GateSettings, apps, degrees, other_load, still_for
from runner.limits import Limit, limit, limit_in_gb
from updates.client.endpoints import ALLOWED, check_address
from updates.client.errors import EndpointError

_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,63}")


class DeviceChoice(Enum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Notifications(Enum):
    """Which notes the desktop shows."""

    NONE = "none"
    TROUBLE = "trouble"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    host: str | None
    """The coordinator's; None until the worker has joined one or its owner names one."""
    port: int
    updates_enabled: bool
    update_endpoints: tuple[str, ...]
    update_pin: str | None
    """The only version that may be installed."""
    max_vram: Limit
    max_ram: Limit
    cpu_cores: int
    """0: all that the machine grants."""
    disk_cap: int
    """Bytes of the model cache."""
    device: DeviceChoice
    gpu: str
    """Which one: its number, UUID or name; empty: the one with the most memory."""
    gpu_scripts: bool
    """Scripts that ask for it get the GPU, one at a time, and no model has it meanwhile."""
    executor_idle_s: float
    """A loaded model that nobody asked for is closed after this long."""
    model_turn_s: float
    """A model that came into memory keeps its place for at least this long while another one waits for it."""
    gates: GateSettings
    name: str | None
    notifications: Notifications
    log_level: str


def load_config(
    places: WorkerPlaces, *, flags: Mapping[str, object], environment: Mapping[str, str], read_file: bool = True
) -> WorkerConfig:
    """Merge and check every setting.

    Raises:
        ConfigError: names the key, the value, where it came from and what is allowed.
    """
    found = resolve(SETTINGS, flags=flags, environment=environment, file=places.config if read_file else None)
    return WorkerConfig(
        host=found.value(_HOST),
        port=found.value(_PORT),
        updates_enabled=found.value(_UPDATES),
        update_endpoints=found.value(_ENDPOINTS),
        update_pin=found.value(_PIN),
        max_vram=_max_vram(found),
        max_ram=found.value(_MAX_RAM),
        cpu_cores=found.value(_CORES),
        disk_cap=found.value(_DISK),
        device=found.value(_DEVICE),
        gpu=found.value(_GPU),
        gpu_scripts=found.value(_GPU_SCRIPTS),
        executor_idle_s=found.value(_IDLE),
        model_turn_s=found.value(_TURN),
        gates=_gates(found),
        name=found.value(_NAME),
        notifications=found.value(_NOTIFICATIONS),
        log_level=found.value(_LOG),
    )


def _gates(found: Resolved) -> GateSettings:
    return GateSettings(
        pause_on_activity=found.value(_ACTIVITY),
        activity_idle_s=found.value(_ACTIVITY_IDLE),
        run_on_battery=found.value(_BATTERY),
        pause_on_fullscreen=found.value(_FULLSCREEN),
        exclusive_apps=found.value(_APPS),
        max_temperature=found.value(_TEMPERATURE),
        max_other_load=found.value(_OTHER_LOAD).share or 1.0,
        schedule=found.value(_SCHEDULE),
    )


def check_together(found: Resolved) -> None:
    """What no setting alone can tell. Raises `ConfigError`."""
    _max_vram(found)


def vram_twin(key: str) -> str:
    """The other name of the VRAM limit; empty for all other settings."""
    return {_MAX_VRAM.key: _MAX_VRAM_GB.key, _MAX_VRAM_GB.key: _MAX_VRAM.key}.get(key, "")


def shown_values(found: Resolved) -> dict[str, str]:
    """Every setting's value, by key, as it would be written on a command line; empty: none."""
    values = {setting.key: _shown(setting, found.values[setting.key]) for setting in SETTINGS}
    if not values[_MAX_VRAM.key] and not values[_MAX_VRAM_GB.key]:
        values[_MAX_VRAM.key] = str(_DEFAULT_VRAM)
    return values


def _shown(setting: Setting[Any], value: object) -> str:
    if isinstance(value, tuple):
        between = "; " if setting.parse is parse_schedule else ", "
        return between.join(_shown(setting, part) for part in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Limit):
        return exact_size(value.bytes) if value.bytes is not None else str(value)
    if setting.parse is _size and isinstance(value, int):
        return exact_size(value)
    if setting.parse in (_seconds, still_for) and isinstance(value, float):
        return exact_duration(value)
    return "" if value is None else str(value)


def _max_vram(found: Resolved) -> Limit:
    """The VRAM limit has two names; the one from the stronger place counts, both from one place are a mistake."""
    by_gb, by_size = found.value(_MAX_VRAM_GB), found.value(_MAX_VRAM)
    rank_gb, rank_size = _rank(found.origins[_MAX_VRAM_GB.key]), _rank(found.origins[_MAX_VRAM.key])
    if by_gb is not None and by_size is not None and rank_gb == rank_size:
        raise ConfigError(
            f"{_MAX_VRAM_GB.key} and {_MAX_VRAM.key} are two names of one limit and both are set"
            f" (from {found.origins[_MAX_VRAM.key]}); keep one of them."
        )
    chosen = by_gb if rank_gb > rank_size else by_size
    return chosen if chosen is not None else _DEFAULT_VRAM


def _rank(origin: str) -> int:
    if origin == "default":
        return 0
    if origin.startswith("--"):
        return 3
    return 2 if origin.startswith("GOGRID_") else 1


def _host(value: object) -> str:
    word = text(value)
    if "/" in word or " " in word or word.count(":") == 1:
        raise ValueError("a host name or an address, without a scheme and without a port")
    return word


def _endpoints(value: object) -> tuple[str, ...]:
    """A TOML list, or one text with commas or blanks between the addresses."""
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(ALLOWED)
    for word in words:
        try:
            check_address(word)
        except EndpointError:
            raise ValueError(ALLOWED) from None
    return tuple(words)


def _version(value: object) -> str:
    if isinstance(value, str) and _VERSION.fullmatch(value):
        return value
    raise ValueError("a version such as 1.4.0")


def _device(value: object) -> DeviceChoice:
    try:
        return DeviceChoice(value.lower() if isinstance(value, str) else value)
    except ValueError:
        raise ValueError("one of " + ", ".join(choice.value for choice in DeviceChoice)) from None


def _gpu(value: object) -> str:
    """A TOML number is meant as the GPU's."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    try:
        return text(value)
    except ValueError:
        raise ValueError("the number, UUID or name of a GPU such as 0, GPU-8f6a… or RTX 4090") from None


def worker_name(value: object) -> str:
    """What the coordinator shows as it is; it would replace and cut anything else."""
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,64}", value):
        raise ValueError("1 to 64 printable ASCII characters without spaces")
    return value


def _notifications(value: object) -> Notifications:
    try:
        return Notifications(value.lower() if isinstance(value, str) else value)
    except ValueError:
        raise ValueError("one of " + ", ".join(choice.value for choice in Notifications)) from None


def _size(value: object) -> int:
    allowed = ValueError("a size with its unit such as 100GB")
    if not isinstance(value, str):
        raise allowed
    try:
        return parse_size(value)
    except ValueError:
        raise allowed from None


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a duration such as 90s, 15m or 2h")
    return parse_duration(str(value))


_DEFAULT_VRAM = Limit(share=0.9)
_HOST: Setting[str | None] = Setting("coordinator.host", _host, None, "GOGRID_COORDINATOR_HOST", "the coordinator")
_PORT = Setting("coordinator.port", port, DEFAULT_PORT, "GOGRID_COORDINATOR_PORT", "its port, UDP and TCP")
_UPDATES = Setting("updates.enabled", boolean, True, "GOGRID_UPDATES_ENABLED", "look for updates")
_ENDPOINTS: Setting[tuple[str, ...]] = Setting(
    "updates.endpoints", _endpoints, (), "GOGRID_UPDATE_ENDPOINTS", "where updates are looked for"
)
_PIN: Setting[str | None] = Setting("updates.pin", _version, None, "GOGRID_UPDATE_PIN", "the only version to install")
_MAX_VRAM_GB: Setting[Limit | None] = Setting(
    "worker.max_vram_gb", limit_in_gb, None, "GOGRID_MAX_VRAM_GB", "GPU memory lent, in GB (also 80% or 12GB)"
)
_MAX_VRAM: Setting[Limit | None] = Setting(
    "worker.max_vram", limit, None, "GOGRID_MAX_VRAM", "GPU memory lent: 80% or 12GB (default 90%)"
)
_MAX_RAM = Setting("worker.max_ram", limit, Limit(share=0.5), "GOGRID_MAX_RAM", "main memory lent: 50% or 8GB")
_CORES = Setting("worker.cpu_cores", integer(0, 4096), 0, "GOGRID_CPU_CORES", "CPU cores lent; 0: all")
_DISK = Setting("worker.disk_cap", _size, 100 * 10**9, "GOGRID_DISK_CAP", "disk for the model cache")
_DEVICE = Setting("worker.device", _device, DeviceChoice.AUTO, "GOGRID_DEVICE", "auto, cpu, cuda or mps")
_GPU = Setting("worker.gpu", _gpu, "", "GOGRID_GPU", "which GPU: its number, UUID or name; the largest if not given")
_GPU_SCRIPTS = Setting("worker.gpu_scripts", boolean, False, "GOGRID_GPU_SCRIPTS", "lend the GPU to scripts, too")
_IDLE = Setting("worker.executor_idle", _seconds, 600.0, "GOGRID_EXECUTOR_IDLE", "close an unused model after this")
_TURN = Setting("worker.model_turn", _seconds, 5.0, "GOGRID_MODEL_TURN", "a loaded model stays at least this long")
_ACTIVITY = Setting(
    "worker.pause_on_activity", boolean, True, "GOGRID_PAUSE_ON_ACTIVITY", "pause while the computer is in use"
)
_ACTIVITY_IDLE = Setting(
    "worker.activity_idle", still_for, 180.0, "GOGRID_ACTIVITY_IDLE", "in use until so long after the last input"
)
_BATTERY = Setting("worker.run_on_battery", boolean, False, "GOGRID_RUN_ON_BATTERY", "work on battery, too")
_FULLSCREEN = Setting(
    "worker.pause_on_fullscreen", boolean, True, "GOGRID_PAUSE_ON_FULLSCREEN", "pause while a program fills the screen"
)
_APPS: Setting[tuple[str, ...]] = Setting(
    "worker.exclusive_apps", apps, (), "GOGRID_EXCLUSIVE_APPS", "pause while one of these programs runs"
)
_TEMPERATURE = Setting(
    "worker.max_temperature", degrees, 0, "GOGRID_MAX_TEMPERATURE", "pause above this, in °C; 0: never"
)
_OTHER_LOAD = Setting(
    "worker.max_other_load",
    other_load,
    Limit(share=0.5),
    "GOGRID_MAX_OTHER_LOAD",
    "pause when others use more than this",
)
_SCHEDULE: Setting[tuple[Hours, ...]] = Setting(
    "worker.schedule", parse_schedule, (), "GOGRID_SCHEDULE", "hours to work in: mon-fri 18:00-08:00; none: always"
)
_NAME: Setting[str | None] = Setting(
    "worker.name", worker_name, None, "GOGRID_WORKER_NAME", "shown to the admin when joining"
)
_NOTIFICATIONS = Setting(
    "worker.notifications", _notifications, Notifications.TROUBLE, "GOGRID_NOTIFICATIONS", "none, trouble or all"
)
_LOG = Setting("worker.log_level", log_level, "info", "GOGRID_LOG_LEVEL", "debug, info, warning or error")

SETTINGS: tuple[Setting[Any], ...] = (
    _HOST, _PORT, _UPDATES, _ENDPOINTS, _PIN, _MAX_VRAM_GB, _MAX_VRAM, _MAX_RAM, _CORES, _DISK, _DEVICE, _GPU,
    _GPU_SCRIPTS, _IDLE, _TURN, _ACTIVITY, _ACTIVITY_IDLE, _BATTERY, _FULLSCREEN, _APPS, _TEMPERATURE, _OTHER_LOAD,
    _SCHEDULE, _NAME, _NOTIFICATIONS, _LOG,
)  # fmt: skip
AT_START = frozenset({"coordinator.host", "coordinator.port", "worker.device", "worker.gpu"})
"""What counts from the worker's next start; it takes up all the rest while it runs."""
AT_JOINING = frozenset({"worker.name"})
"""What counts when the worker joins a coordinator the next time."""

"""The coordinator's settings as one frozen value: flag > `GOGRID_COORDINATOR_*` > `coordinator.toml` > default."""

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.state.folder import StateFolder, default_root
from gogrid.addresses import DEFAULT_PORT, Address, parse_address
from gogrid.config import Resolved, Setting, integer, log_level, resolve, text
from gogrid.errors import ConfigError, GoGridError
from gogrid.jointoken import MAX_ADDRESSES
from gogrid.named_path import named_path
from gogrid.sizes import parse_duration

DATA_VARIABLE = "GOGRID_COORDINATOR_DATA"


@dataclass(frozen=True, slots=True)
class CoordinatorConfig:
    """Built once at start and passed down."""

    folder: StateFolder
    name: str
    """Shown to workers and people."""
    host: str
    port: int
    """UDP for workers and TCP for HTTPS; 0: any free one."""
    loopback_http_port: int
    """Plain HTTP on 127.0.0.1; 0: none."""
    public: tuple[Address, ...]
    """What new join tokens name and TLS certificates carry, with port 0 where it is the one that is listened on; empty:
    this machine's own addresses."""
    public_given: bool
    """`public` is of this process alone, from `--public` or its environment: no file says it to other commands."""
    queue_length: int
    """Interactive requests that may wait."""
    key_concurrency: int
    """Requests of one API key at a time."""
    jobs: int
    """Durable jobs that may be unfinished at once."""
    jobs_per_key: int
    """Of one API key."""
    patience_s: float
    """A request that no worker takes, and whose model does not get on with loading, is given up after this long."""
    longest_wait_s: float
    """However well the loading gets on."""
    heartbeat_s: float
    lease_s: float
    fence_s: float
    """A worker without heartbeat answers kills what it runs after this long; less than the lease."""
    ping_s: float
    ping_timeout_s: float
    keep_jobs_s: float
    """Ended jobs, their logs and outputs are forgotten after this long."""
    log_level: str


def _listen(value: object) -> tuple[str, int]:
    form = "HOST:PORT, for instance 0.0.0.0:8443 (port 0: any free one)"
    match = (
        re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+):(\d{1,5})", value.strip()) if isinstance(value, str) else None
    )
    if match is None or int(match[2]) > 65535:
        raise ValueError(form)
    return match[1].strip("[]"), int(match[2])


def _addresses(value: object) -> tuple[Address, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"up to {MAX_ADDRESSES} addresses such as grid.example.org:8443")
    if len(value) > MAX_ADDRESSES:
        raise ValueError(f"at most {MAX_ADDRESSES} addresses")
    try:
        return tuple(parse_address(item, 0) for item in value)
    except GoGridError as error:
        raise ValueError(f"addresses such as grid.example.org:8443 ({error})") from error


def _seconds(low: float, high: float) -> Callable[[object], float]:
    def parse(value: object) -> float:
        allowed = ValueError(f"a duration from {_span(low)} to {_span(high)}")
        try:
            seconds = parse_duration(value) if isinstance(value, str) else value
        except ValueError:
            raise allowed from None
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not low <= seconds <= high:
            raise allowed
        return float(seconds)

    return parse


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


def _name() -> str:
    return socket.gethostname() or "coordinator"


NAME = Setting("coordinator.name", text, "", "GOGRID_COORDINATOR_NAME", "Name shown to workers; default: the host's.")
LISTEN = Setting(
    "coordinator.listen",
    _listen,
    ("0.0.0.0", DEFAULT_PORT),  # noqa: S104  # workers are other machines
    "GOGRID_COORDINATOR_LISTEN",
    "Address for workers (UDP) and HTTPS (TCP).",
)
HTTP_LOOPBACK = Setting(
    "coordinator.http_loopback",
    integer(0, 65535),
    0,
    "GOGRID_COORDINATOR_HTTP_LOOPBACK",
    "Port for plain HTTP on 127.0.0.1; 0: none.",
)
PUBLIC: Setting[tuple[Address, ...]] = Setting(
    "coordinator.public",
    _addresses,
    (),
    "GOGRID_COORDINATOR_PUBLIC",
    "Addresses that join tokens name; without a port: the one it listens on. Default: this machine's own.",
)
QUEUE = Setting(
    "limits.queue_length", integer(1, 100_000), 256, "GOGRID_COORDINATOR_QUEUE_LENGTH", "Requests that may wait."
)
PER_KEY = Setting(
    "limits.key_concurrency",
    integer(1, 100_000),
    64,
    "GOGRID_COORDINATOR_KEY_CONCURRENCY",
    "Requests of one key at a time.",
)
JOBS = Setting(
    "limits.jobs", integer(1, 10_000_000), 100_000, "GOGRID_COORDINATOR_JOBS", "Jobs that may be unfinished at once."
)
JOBS_PER_KEY = Setting(
    "limits.jobs_per_key",
    integer(1, 10_000_000),
    10_000,
    "GOGRID_COORDINATOR_JOBS_PER_KEY",
    "Unfinished jobs of one key.",
)
PATIENCE = Setting(
    "limits.patience",
    _seconds(0, 3600),
    60.0,
    "GOGRID_COORDINATOR_PATIENCE",
    "How long a request waits while nothing gets on.",
)
LONGEST_WAIT = Setting(
    "limits.longest_wait",
    _seconds(1, 86400),
    1800.0,
    "GOGRID_COORDINATOR_LONGEST_WAIT",
    "How long a request waits for a loading model at most.",
)
HEARTBEAT = Setting("workers.heartbeat", _seconds(0.1, 60), 10.0, "GOGRID_COORDINATOR_HEARTBEAT", "Between heartbeats.")
LEASE = Setting("workers.lease", _seconds(0.3, 600), 30.0, "GOGRID_COORDINATOR_LEASE", "Life of a lease.")
FENCE = Setting("workers.fence", _seconds(0.2, 600), 24.0, "GOGRID_COORDINATOR_FENCE", "Until a worker fences itself.")
PING = Setting("workers.ping", _seconds(0.1, 60), 5.0, "GOGRID_COORDINATOR_PING", "Between pings.")
PING_TIMEOUT = Setting(
    "workers.ping_timeout", _seconds(0.1, 60), 3.0, "GOGRID_COORDINATOR_PING_TIMEOUT", "Silence that counts as dead."
)
KEEP_JOBS = Setting(
    "limits.keep_jobs",
    _seconds(3600, 3650 * 86400),
    14 * 86400.0,
    "GOGRID_COORDINATOR_KEEP_JOBS",
    "Life of ended jobs.",
)
LOG_LEVEL = Setting("coordinator.log_level", log_level, "info", "GOGRID_COORDINATOR_LOG_LEVEL", "How much is logged.")

SETTINGS: tuple[Setting[Any], ...] = (
    NAME,
    LISTEN,
    HTTP_LOOPBACK,
    PUBLIC,
    QUEUE,
    PER_KEY,
    JOBS,
    JOBS_PER_KEY,
    PATIENCE,
    LONGEST_WAIT,
    HEARTBEAT,
    LEASE,
    FENCE,
    PING,
    PING_TIMEOUT,
    KEEP_JOBS,
    LOG_LEVEL,
)


def state_folder(
    flag: str | None, environment: Mapping[str, str], home: Path, platform: str, is_root: bool
) -> StateFolder:
    """The folder of `--data`, else of the variable, else of the platform. Raises `ConfigError` if it is not usable."""
    if flag:
        return StateFolder(named_path(flag, "--data"))
    if given := environment.get(DATA_VARIABLE):
        return StateFolder(named_path(given, DATA_VARIABLE))
    return StateFolder(named_path(default_root(environment, home, platform, is_root), "the state folder"))


def load_config(folder: StateFolder, flags: Mapping[str, object], environment: Mapping[str, str]) -> CoordinatorConfig:
    """Merge the places and check what spans several settings.

    Args:
        flags: by setting key; None means "not given".

    Raises:
        ConfigError: names the setting, its value and what is allowed.
    """
    resolved = resolve(SETTINGS, flags=flags, environment=environment, file=folder.config_file)
    _check_times(resolved)
    host, port = resolved.value(LISTEN)
    return CoordinatorConfig(
        folder=folder,
        name=resolved.value(NAME) or _name(),
        host=host,
        port=port,
        loopback_http_port=resolved.value(HTTP_LOOPBACK),
        public=resolved.value(PUBLIC),
        public_given=resolved.origins[PUBLIC.key] in ("--public", PUBLIC.env),
        queue_length=resolved.value(QUEUE),
        key_concurrency=resolved.value(PER_KEY),
        jobs=resolved.value(JOBS),
        jobs_per_key=resolved.value(JOBS_PER_KEY),
        patience_s=resolved.value(PATIENCE),
        longest_wait_s=resolved.value(LONGEST_WAIT),
        heartbeat_s=resolved.value(HEARTBEAT),
        lease_s=resolved.value(LEASE),
        fence_s=resolved.value(FENCE),
        ping_s=resolved.value(PING),
        ping_timeout_s=resolved.value(PING_TIMEOUT),
        keep_jobs_s=resolved.value(KEEP_JOBS),
        log_level=resolved.value(LOG_LEVEL),
    )


def _check_times(resolved: Resolved) -> None:
    heartbeat, fence, lease = resolved.value(HEARTBEAT), resolved.value(FENCE), resolved.value(LEASE)
    if not heartbeat * 2 <= fence < lease:
        raise ConfigError(
            f"workers.heartbeat = {heartbeat:g}s, workers.fence = {fence:g}s and workers.lease = {lease:g}s do not fit "
            "together: twice the heartbeat must not exceed the fence, and the fence must be shorter than the lease."
        )

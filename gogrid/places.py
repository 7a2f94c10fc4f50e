"""Where a worker's files lie on this machine: one pure function for the runner and for what supervises it.

Promises: every place can be overridden, and overriding the data folder alone moves *everything* below it, so that two
workers, a demo or a test never meet. Without an override the places are those that the platform's users expect.
Refuses a path that is not UTF-8.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gogrid.named_path import named_path, text_path

CONFIG_VARIABLE = "GOGRID_WORKER_CONFIG"
DATA_VARIABLE = "GOGRID_WORKER_DATA"
MEMBERSHIP_FILE = "membership.json"
_SOCKET_PATH_LIMIT = 100
"""Bytes; the kernels allow 104 (macOS) and 108 (Linux) for the path of a Unix socket."""
_STANDARD = "the folder of this user's programs"


@dataclass(frozen=True, slots=True)
class WorkerPlaces:
    config: Path
    """`config.toml`; need not exist."""
    data: Path
    """State and model cache, and logs where it was named; private to its owner."""
    control: Path
    """The control socket of the runner."""
    instance: Path
    """The socket of the app that supervises it."""
    custom_logs: Path | None = None
    """Where this platform's users look for logs; None: the data folder was named, and holds them too."""

    @property
    def state(self) -> Path:
        return self.data / "state"

    @property
    def membership(self) -> Path:
        """There once this machine has joined a coordinator."""
        return self.state / MEMBERSHIP_FILE

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def model_names(self) -> Path:
        """What the coordinator calls the models on disk."""
        return self.state / "model-names.json"

    @property
    def engines(self) -> Path:
        """Engine packs."""
        return self.data / "engines"

    @property
    def jobs(self) -> Path:
        return self.data / "jobs"

    @property
    def logs(self) -> Path:
        """One file for each process: `worker.log`, `tray.log`, `window.log`, and their rotated ones."""
        return self.custom_logs or self.data / "logs"

    @property
    def app(self) -> Path:
        """Newer versions of the program, and what is remembered of updates."""
        return self.data / "app"

    @property
    def update_note(self) -> Path:
        """What became of the last update, in words, for the owner and the coordinator; absent or empty: nothing new."""
        return self.app / "note"

    @property
    def lock(self) -> Path:
        """Held while a runner runs: one per data folder."""
        return self.data / "runner.lock"

    @property
    def app_lock(self) -> Path:
        """Held while the app runs: one per data folder."""
        return self.data / "app.lock"


def worker_places(
    *, config: Path | None, data: Path | None, environment: Mapping[str, str], platform: str, home: Path, user: int
) -> WorkerPlaces:
    """The places for given overrides.

    Args:
        config: from `--config`; wins over the variable.
        data: from `--data`; wins over the variable.
        platform: `sys.platform`.
        user: the numeric user id, 0 where there is none.

    Raises:
        ConfigError: a place is not usable; says what named it.
    """
    chosen_config = _chosen(config, "--config", environment, CONFIG_VARIABLE)
    chosen_data = _chosen(data, "--data", environment, DATA_VARIABLE)
    standard_config, standard_data = _standard(environment, platform, home)
    final_data = chosen_data or text_path(standard_data.absolute(), _STANDARD)
    if chosen_config is None:
        folder = final_data if chosen_data is not None else text_path(standard_config.absolute(), _STANDARD)
        chosen_config = folder / "config.toml"
    return WorkerPlaces(
        chosen_config,
        final_data,
        control=socket_path(final_data / "control.sock", environment, user),
        instance=socket_path(final_data / "app.sock", environment, user),
        custom_logs=_logs(environment, platform, home) if chosen_data is None else None,
    )


def _chosen(given: Path | None, flag: str, environment: Mapping[str, str], variable: str) -> Path | None:
    if given is not None:
        return named_path(given, flag)
    text = environment.get(variable)
    return named_path(text, variable) if text else None


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _standard(environment: Mapping[str, str], platform: str, home: Path) -> tuple[Path, Path]:
    """Folder of the configuration and folder of the data."""
    if platform == "darwin":
        folder = home / "Library" / "Application Support" / "GoGrid Worker"
        return folder, folder
    if platform == "win32":
        roaming = _path(environment.get("APPDATA")) or home / "AppData" / "Roaming"
        local = _path(environment.get("LOCALAPPDATA")) or home / "AppData" / "Local"
        return roaming / "GoGrid Worker", local / "GoGrid Worker"
    config = _absolute(environment.get("XDG_CONFIG_HOME")) or home / ".config"
    data = _absolute(environment.get("XDG_DATA_HOME")) or home / ".local" / "share"
    return config / "gogrid-worker", data / "gogrid-worker"


def _logs(environment: Mapping[str, str], platform: str, home: Path) -> Path:
    if platform == "darwin":
        return home / "Library" / "Logs" / "GoGrid Worker"
    if platform == "win32":
        return _standard(environment, platform, home)[1] / "logs"
    state = _absolute(environment.get("XDG_STATE_HOME")) or home / ".local" / "state"
    return state / "gogrid-worker" / "logs"


def _absolute(text: str | None) -> Path | None:
    """The XDG rules say that a relative path is to be ignored."""
    path = _path(text)
    return path if path is not None and path.is_absolute() else None


def socket_path(direct: Path, environment: Mapping[str, str], user: int) -> Path:
    """As given, or, where that path is too long for a socket, in a short private folder."""
    if len(str(direct).encode()) <= _SOCKET_PATH_LIMIT:
        return direct
    name = f"{hashlib.sha256(str(direct.parent).encode()).hexdigest()[:16]}-{direct.name}"
    runtime = _absolute(environment.get("XDG_RUNTIME_DIR"))
    short = runtime / "gogrid" / name if runtime is not None else None
    if short is not None and len(str(short).encode(errors="surrogateescape")) <= _SOCKET_PATH_LIMIT:
        return short
    return Path(f"/tmp/gogrid-{user}") / name  # noqa: S108  # the folder is made 0700 and checked by the listener

"""Writes single settings into `config.toml` and notices that it was changed; comments and all else stay as they are."""

import os
from pathlib import Path

import tomlkit

from gogrid.config import Setting
from gogrid.errors import ConfigError
from runner.config import SETTINGS

_TWINS = {"worker.max_vram": "worker.max_vram_gb", "worker.max_vram_gb": "worker.max_vram"}
"""Two names of one limit: setting one removes the other."""
LIVE = frozenset({"worker.max_vram", "worker.max_vram_gb", "worker.max_ram"})
"""What a running worker takes up at once; the rest counts from its next start."""


def find_setting(name: str) -> Setting[object]:
    """By `worker.max_vram`, `max_vram` or `max-vram`. Raises `ConfigError` naming those there are."""
    word = name.strip().lower().replace("-", "_")
    for setting in SETTINGS:
        if word in (setting.key, setting.key.rpartition(".")[2]):
            return setting
    known = ", ".join(setting.key for setting in SETTINGS)
    raise ConfigError(f"There is no setting {name[:60]!r}; there are: {known}.")


def change_setting(path: Path, name: str, value: str) -> Setting[object]:
    """Write one setting, if its value is allowed.

    Raises:
        ConfigError: names the key, the value and what is allowed; then the file is as it was.
    """
    setting = find_setting(name)
    try:
        setting.parse(_typed(value))
    except ValueError as error:
        raise ConfigError(f"{setting.key} = {value!r} is not usable: it must be {error}.") from error
    write_settings(path, {setting.key: _typed(value)}, drop=_TWINS.get(setting.key))
    return setting


def write_settings(path: Path, values: dict[str, str | int | float | bool], drop: str | None = None) -> None:
    """Raises `ConfigError` if the file cannot be read or written.

    Args:
        values: by key, for instance `worker.max_vram`.
        drop: a key to remove.
    """
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8") if path.exists() else "")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}; mend it and try again.") from error
    for key, value in values.items():
        table, _, name = key.partition(".")
        document.setdefault(table, tomlkit.table())[name] = value
    if drop is not None:
        table, _, name = drop.partition(".")
        document.get(table, {}).pop(name, None)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh.write_text(tomlkit.dumps(document), encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from error


class FileStamp:
    """Whether a file is another one than at the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = self._stamp()

    def changed(self) -> bool:
        before, self._last = self._last, self._stamp()
        return self._last != before

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _typed(value: str) -> str | int | float | bool:
    """As TOML would have it: `true` and numbers are no texts."""
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for number in (int, float):
        try:
            return number(value)
        except ValueError:
            continue
    return value

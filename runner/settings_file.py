"""Writes single settings into `config.toml` and notices that it was changed; comments and all else stay as they are.

The file is whole at any moment, keeps its permissions, and stays where a link to it leads. It is never left in a state
that the worker could not start with: what would be wrong is refused, and then nothing has changed. Whoever edits it at
the same time loses nothing: what changed between reading and writing is read anew, and a file that an editor has
emptied to write into it gets a moment to be filled.
"""

import os
import time
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from tomlkit.items import Table

from gogrid.config import LARGEST_FILE, Setting, cut, no_such_setting, no_utf8, resolve
from gogrid.errors import ConfigError
from gogrid.files import flush_folder
from gogrid.regular_file import read_regular
from runner.config import SETTINGS, check_together, vram_twin

Value = str | int | float | bool | list[object]
_TRIES = 10
_JUST_NOW_S = 1.0
"""So long an empty file may be one that an editor is about to fill."""
_LOOK_AGAIN_S = 0.02


def find_setting(name: str) -> Setting[object]:
    """By `worker.max_vram`, `max_vram` or `max-vram`. Raises `ConfigError` naming those there are."""
    word = name.strip().lower().replace("-", "_")
    for setting in SETTINGS:
        if word in (setting.key, setting.key.rpartition(".")[2]):
            return setting
    raise ConfigError(no_such_setting(name, [setting.key for setting in SETTINGS]))


@dataclass(frozen=True, slots=True)
class Changed:
    setting: Setting[object]
    removed: tuple[str, ...]
    """Keys that stood in the file and do no more."""


def change_setting(path: Path, name: str, value: str) -> Changed:
    """Write one setting, if its value is allowed; an empty value removes it, so that its default counts.

    The VRAM limit has two names: setting one removes the other.

    Raises:
        ConfigError: names the key, the value and what is allowed; then the file is as it was.
    """
    setting = find_setting(name)
    if not value.strip():
        return Changed(setting, write_settings(path, {}, drop=(setting.key,)))
    twin = vram_twin(setting.key)
    values = {setting.key: _allowed(setting, value)}
    return Changed(setting, write_settings(path, values, drop=(twin,) if twin else ()))


def write_settings(path: Path, values: Mapping[str, Value], drop: Iterable[str] = ()) -> tuple[str, ...]:
    """Raises `ConfigError` if the file cannot be read or written, or would be wrong afterwards; then it is as it was.

    Args:
        values: by key, for instance `worker.max_vram`.
        drop: keys to remove.

    Returns: those of `drop` that stood there. Where that leaves nothing to do, the file is not written.
    """
    names = tuple(drop)
    for _ in range(_TRIES):
        try:
            return _write(path, values, names)
        except _ChangedMeanwhileError:
            continue
    raise ConfigError(f"{path} is being written by another program over and over; nothing was changed, try again.")


def await_save(path: Path) -> None:
    """Give an editor that saves in place, and so empties the file first, up to a second to write into it. Blocks."""
    while _just_emptied(path):
        time.sleep(_LOOK_AGAIN_S)


def _just_emptied(path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False  # whoever reads it says what is wrong
    return found.st_size == 0 and 0 <= time.time() - found.st_mtime < _JUST_NOW_S


class _ChangedMeanwhileError(Exception):
    """Somebody else has written the file since it was read."""


@dataclass(frozen=True, slots=True)
class _Read:
    """The file as it was found."""

    target: Path
    """The file itself, where `path` is a link to it."""
    stamp: "FileStamp"
    mode: int
    document: tomlkit.TOMLDocument


def _write(path: Path, values: Mapping[str, Value], drop: tuple[str, ...]) -> tuple[str, ...]:
    found = _read(path)
    dropped = _edit(found.document, values, drop, path)
    if values or dropped:
        _replace(path, found)
    return dropped


def _read(path: Path) -> _Read:
    try:
        target = path.resolve() if path.is_symlink() else path
        await_save(target)
        stamp = FileStamp(target)
        found = target.stat() if target.exists() else None
        text = read_regular(target, LARGEST_FILE).decode("utf-8") if found is not None else ""
        if not text and _just_emptied(target):
            raise _ChangedMeanwhileError
        document = tomlkit.parse(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}; mend it and try again.") from error
    except RuntimeError as error:
        why = "it lies too deep in itself" if isinstance(error, RecursionError) else "it is a link to itself"
        raise ConfigError(f"{path} cannot be read: {why}; mend it and try again.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} cannot be read: {no_utf8(error)}; nothing was changed.") from error
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}; mend it and try again.") from error
    if found is not None and not found.st_mode & 0o222:
        raise ConfigError(f"{path} is read-only and stays as it is; make it writable to change a setting.")
    return _Read(target, stamp, 0o600 if found is None else found.st_mode & 0o777, document)


def _edit(
    document: tomlkit.TOMLDocument, values: Mapping[str, Value], drop: tuple[str, ...], path: Path
) -> tuple[str, ...]:
    """Returns: those of `drop` that stood there."""
    for key, value in values.items():
        table, _, name = key.partition(".")
        _table(document, table, path)[name] = value
    dropped = []
    for key in drop:
        table, _, name = key.partition(".")
        if name in document.get(table, {}):
            document[table].pop(name)
            dropped.append(key)
    return tuple(dropped)


def _table(document: tomlkit.TOMLDocument, name: str, path: Path) -> Table:
    table = document.setdefault(name, tomlkit.table())
    if not isinstance(table, Table):
        raise ConfigError(f"{path}: {name!r} stands outside any [section]; put it under the section it belongs to.")
    return table


_FRESH = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
"""As it is: Windows would end each line once more."""


def _replace(path: Path, found: _Read) -> None:
    """Put the new text in the file's place, if the worker can start with it and nobody else has written there."""
    target = found.target
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(fresh, _FRESH, found.mode), "wb") as file:
            file.write(tomlkit.dumps(found.document).encode())
            file.flush()
            os.fsync(file.fileno())
        check_together(resolve(SETTINGS, flags={}, environment={}, file=fresh))
        fresh.chmod(found.mode)
        if found.stamp.changed():
            raise _ChangedMeanwhileError
        fresh.replace(target)
        flush_folder(target.parent)
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(fresh), str(path))) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        fresh.unlink(missing_ok=True)


class FileStamp:
    """Whether a file is another one than at the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = self._stamp()

    def changed(self) -> bool:
        before, self._last = self._last, self._stamp()
        return self._last != before

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            return (error.errno or 0,)
        return found.st_mtime_ns, found.st_size, found.st_ino


def _allowed(setting: Setting[object], text: str) -> Value:
    """As TOML would have it (`true`, numbers and lists are no texts), where the setting takes that; else the text."""
    refused: ValueError | None = None
    for value in _readings(text):
        try:
            setting.parse(value)
        except ValueError as error:
            refused = refused or error
            continue
        return value
    raise ConfigError(f"{setting.key} = {cut(text)} is not usable: it must be {refused}.")


def _readings(text: str) -> tuple[Value, ...]:
    if text.lower() in ("true", "false"):
        return (text.lower() == "true", text)
    try:
        value = tomllib.loads(f"value = {text}")["value"] if text[0] in "[+-.0123456789" else text
    except (ValueError, RecursionError):
        value = text
    return (value, text) if isinstance(value, int | float | list) else (text,)

"""Settings from four places, one rule: flag > environment > file > default.

A component describes its settings as a tuple of `Setting`s; `resolve` merges the places and parses every value once, so
that what is passed on is typed, checked and knows where it came from. A value that cannot be used is one `ConfigError`
that names the key, the value, its origin and what is allowed. Unknown keys in the file are errors, with the nearest
known key suggested. Reads no environment and no clock by itself: both are given.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from gogrid.errors import ConfigError
from gogrid.regular_file import read_regular

T = TypeVar("T")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
LARGEST_FILE = 1 << 20
"""Bytes of a settings' file; a longer one is none."""
LOG_LEVELS = ("debug", "info", "warning", "error")
_QUOTED = 200
_ALIKE = 0.5
_ALIKE_WITH_TABLE = 0.85


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One key of the configuration."""

    key: str
    """`worker.max_vram_gb`: table and name in the file."""
    parse: Callable[[object], T]
    """From a TOML value or the text of a flag or variable; raises `ValueError` saying what is allowed."""
    default: T
    env: str
    """`GOGRID_MAX_VRAM_GB`."""
    help: str
    """One line for people."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Every setting's value and origin."""

    values: Mapping[str, object]
    origins: Mapping[str, str]
    """`--listen`, `GOGRID_LISTEN`, a file's path, or `default`."""

    def value(self, setting: Setting[T]) -> T:
        return self.values[setting.key]  # type: ignore[return-value]  # parsed by this setting's own `parse`


def resolve(
    settings: tuple[Setting[object], ...],
    *,
    flags: Mapping[str, object],
    environment: Mapping[str, str],
    file: Path | None,
) -> Resolved:
    """Merge the four places.

    Args:
        flags: by key; None means "not given".
        file: read if it exists; absence is fine.

    Raises:
        ConfigError: an unreadable file, an unknown key, or a value that is not allowed.
    """
    from_file = _read_file(file, settings) if file is not None else {}
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for setting in settings:
        raw: object
        if flags.get(setting.key) is not None:
            raw, origin = flags[setting.key], "--" + setting.key.rpartition(".")[2].replace("_", "-")
        elif environment.get(setting.env, "") != "":
            raw, origin = environment[setting.env], setting.env
        elif setting.key in from_file:
            raw, origin = from_file[setting.key], str(file)
        else:
            values[setting.key], origins[setting.key] = setting.default, "default"
            continue
        try:
            values[setting.key] = setting.parse(raw)
        except ValueError as error:
            said = f"{setting.key} = {cut(raw)} (from {origin})"
            raise ConfigError(f"{said} is not usable: it must be {error}.") from error
        origins[setting.key] = origin
    return Resolved(values, origins)


def _read_file(path: Path, settings: tuple[Setting[object], ...]) -> dict[str, object]:
    try:
        tables = tomllib.loads(read_regular(path, LARGEST_FILE).decode("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} cannot be read: {no_utf8(error)}.") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is not usable: its lists or tables lie too deep in one another.") from error
    flat: dict[str, object] = {}
    for table, content in tables.items():
        if not isinstance(content, dict):
            raise ConfigError(
                f"{path}: {cut(table)} stands outside any [section]; put it under the section it belongs to."
            )
        flat.update({f"{table}.{name}": value for name, value in content.items()})
    known = [setting.key for setting in settings]
    for key in flat:
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near}?" if near else f"known keys: {', '.join(known)}."
            raise ConfigError(f"{path}: there is no setting {key[:_QUOTED]}; {hint}")
    return flat


def no_utf8(error: UnicodeDecodeError) -> str:
    """Where a file is no text, and what to do about it."""
    line = error.object.count(b"\n", 0, error.start) + 1
    return f"line {line} is not UTF-8 text (byte 0x{error.object[error.start]:02x}); save the file as UTF-8"


def cut(value: object) -> str:
    """A value as a message quotes it: in one line that is not too long to be read."""
    words = repr(value)
    return words if len(words) <= _QUOTED else f"{words[:_QUOTED]}…"


def nearest(name: str, known: Sequence[str], alike: float = _ALIKE) -> str:
    """The key that was most likely meant, with or without its table; empty: none is near; 1 would be the same."""
    last = name.rpartition(".")[2]
    keys = {key.rpartition(".")[2]: key for key in known}
    near = difflib.get_close_matches(last, keys, n=1, cutoff=alike)
    whole = difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE_WITH_TABLE)
    return whole[0] if whole else keys[near[0]] if near else ""


def no_such_setting(name: str, known: Sequence[str]) -> str:
    """One sentence for the person who named it on a command line."""
    near = nearest(name.strip().lower().replace("-", "_"), known)
    return f"There is no setting {name[:60]!r}; " + (f"did you mean {near}?" if near else "see all with: config show")


def text(value: object) -> str:
    """Any non-empty text."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("text that is not empty")
    return value.strip()


def boolean(value: object) -> bool:
    """TOML booleans, and the usual words from flags and variables."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("1", "true", "yes", "on"):
        return True
    if isinstance(value, str) and value.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("true or false")


def log_level(value: object) -> str:
    if isinstance(value, str) and value.lower() in LOG_LEVELS:
        return value.lower()
    raise ValueError("one of " + ", ".join(LOG_LEVELS))


def integer(low: int, high: int) -> Callable[[object], int]:
    """Whole numbers from `low` to `high`."""

    def parse(value: object) -> int:
        allowed = ValueError(f"a whole number from {low} to {high}")
        if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise allowed
        return value

    return parse


port = integer(1, 65535)

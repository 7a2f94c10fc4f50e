"""A path that somebody named by an option or a variable: expanded, absolute, and one that every part can handle.

Refuses what is not UTF-8: such a path can neither be told to other programs as JSON nor stand in a socket's name.
"""

from pathlib import Path

from gogrid.errors import ConfigError


def named_path(given: str | Path, origin: str) -> Path:
    """Absolute, with `~` expanded.

    Args:
        origin: what named it: `--data`, `GOGRID_WORKER_DATA`.

    Raises:
        ConfigError: it is not UTF-8, or `~` in it is nobody's home.
    """
    try:
        path = Path(given).expanduser()
    except RuntimeError:
        raise ConfigError(f"{origin} {_shown(given)} is not usable: its ~ must be somebody's home folder.") from None
    return text_path(path.absolute(), origin)


def text_path(path: Path, origin: str) -> Path:
    """The same path. Raises `ConfigError` if it is not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{origin} {_shown(path)} is not usable: a path must be UTF-8 text.") from None
    return path


def _shown(path: str | Path) -> str:
    """What is no text as its bytes: `/tmp/\\xff`."""
    return str(path).encode(errors="surrogateescape").decode(errors="backslashreplace")

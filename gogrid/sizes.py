"""Sizes and durations as people write them. Refuses what it does not fully understand."""

import re

_NUMBER = r"([0-9]{1,18}(?:\.[0-9]{1,18})?)"
_SIZE = re.compile(_NUMBER + r"\s*([kmgt]i?b?|b?)", re.IGNORECASE)
_FACTORS = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "ki": 2**10, "kib": 2**10,
    "m": 10**6, "mb": 10**6, "mi": 2**20, "mib": 2**20,
    "g": 10**9, "gb": 10**9, "gi": 2**30, "gib": 2**30,
    "t": 10**12, "tb": 10**12, "ti": 2**40, "tib": 2**40,
}  # fmt: skip
_DURATION = re.compile(_NUMBER + r"\s*(s|m|min|h|d)?")
_SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str) -> int:
    """Bytes from `2GB` (10⁹), `2GiB` (2³⁰), `500M` or a plain number.

    Raises:
        ValueError: says what is allowed.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("a size such as 512MB, 2GB or 2GiB")
    number, factor = match[1], _FACTORS[match[2].lower()]
    return int(float(number) * factor) if "." in number else int(number) * factor


def parse_duration(text: str) -> float:
    """Seconds from `90`, `90s`, `15m`, `24h` or `7d`.

    Raises:
        ValueError: says what is allowed.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError("a duration such as 90s, 15m, 24h or 7d")
    return float(match[1]) * _SECONDS[match[2]]


def format_size(count: int) -> str:
    """`1.5 GB`: decimal units, three digits at most up to 999 TB."""
    if count < 1000:
        return f"{count} B"
    value = count / 1000
    unit, *larger = ("kB", "MB", "GB", "TB")
    # Whatever would be rounded up to 1000 belongs to the next unit.
    while value >= 999.5 and larger:
        value /= 1000
        unit, *larger = larger
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def exact_size(count: int) -> str:
    """`12GiB`: the shortest way to write so many bytes that `parse_size` reads as the same number."""
    for unit in ("TB", "TiB", "GB", "GiB", "MB", "MiB", "kB", "KiB"):
        factor = _FACTORS[unit.lower()]
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return f"{count}B"


def exact_duration(seconds: float) -> str:
    """`15m`: the shortest way to write so many seconds that `parse_duration` reads as the same number."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    return f"{seconds:g}s"

"""What a machine's owner wants of the gates, and how it is written. Refuses, in words, what it does not understand."""

from dataclasses import dataclass

from gogrid.config import integer
from gogrid.sizes import parse_duration
from runner.gates.schedule import Hours
from runner.limits import Limit

COOLEST, HOTTEST = 30, 120
"""°C that a limit may have: below, no machine ever works; above, no sensor means it."""
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class GateSettings:
    pause_on_activity: bool = True
    activity_idle_s: float = 180.0
    """The computer is in use until so long after the last input."""
    run_on_battery: bool = False
    pause_on_fullscreen: bool = True
    exclusive_apps: tuple[str, ...] = ()
    """Names of programs, lower case."""
    max_temperature: int = 0
    """°C; 0: any."""
    max_other_load: float = 0.5
    """Share that other programs may use of the GPU, of its memory and of the processor; 1: all."""
    schedule: tuple[Hours, ...] = ()
    """When it may work; none: always."""


def other_load(value: object) -> Limit:
    """A share, from `50%`. Raises `ValueError` saying what is allowed."""
    allowed = ValueError("a share from 1% to 100% (100%: whatever other programs do)")
    if not isinstance(value, str) or not value.strip().endswith("%"):
        raise allowed
    try:
        share = float(value.strip()[:-1]) / 100
    except ValueError:
        raise allowed from None
    if not 0.01 <= share <= 1:
        raise allowed
    return Limit(share=share)


def still_for(value: object) -> float:
    """Seconds, from `3m`. Raises `ValueError` saying what is allowed."""
    allowed = ValueError("a duration from 1s to 24h such as 3m")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise allowed
    try:
        seconds = parse_duration(str(value))
    except ValueError:
        raise allowed from None
    if not 1 <= seconds <= 86400:
        raise allowed
    return seconds


def degrees(value: object) -> int:
    """°C, from a number. Raises `ValueError` saying what is allowed."""
    allowed = ValueError(f"a temperature in °C from {COOLEST} to {HOTTEST}, or 0 for no limit")
    try:
        number = integer(0, HOTTEST)(value)
    except ValueError:
        raise allowed from None
    if 0 < number < COOLEST:
        raise allowed
    return number


def apps(value: object) -> tuple[str, ...]:
    """From a list of program names, or one text with commas between. Raises `ValueError` saying what is allowed."""
    allowed = ValueError("names of programs such as game.exe, blender, without a path")
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise allowed
    names = tuple(dict.fromkeys(word.strip().lower() for word in words if word.strip()))
    if any(len(name) > _LONGEST_NAME or set(name) & set("/\\[]") for name in names):
        raise allowed
    return names

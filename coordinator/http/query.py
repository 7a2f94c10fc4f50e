"""Query parameters, read strictly: each refusal names the parameter and what is allowed. Pure."""

from collections.abc import Iterable
from enum import Enum
from typing import TypeVar
from urllib.parse import parse_qsl

from coordinator.errors import RequestError

_Member = TypeVar("_Member", bound=Enum)
_SHOWN = 40
_DIGITS = 18


class Query:
    """The parameters of one request; one that is given twice counts as it was given last."""

    def __init__(self, query_string: bytes, known: Iterable[str]) -> None:
        """Raises `RequestError` for a parameter that is not `known`: nobody shall believe in one that does nothing."""
        allowed = tuple(known)
        self._given = dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, errors="replace"))
        for name in self._given:
            if name not in allowed:
                raise RequestError(
                    f"`{_shown(name)}` is not a query parameter known here; there are {', '.join(allowed)}.",
                    name[:_SHOWN],
                    "unknown_parameter",
                )

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        text = self._given.get(name)
        if text is None:
            return default
        value = int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else -1
        if not low <= value <= high:
            raise RequestError(
                f"`{name}` must be a whole number from {low} to {high}, not {_shown(text)!r}.", name, "invalid_value"
            )
        return value

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        """The first one if none is given."""
        text = self._given.get(name, allowed[0])
        if text not in allowed:
            raise RequestError(f"`{name}` must be {' or '.join(allowed)}, not {_shown(text)!r}.", name, "invalid_value")
        return text

    def flag(self, name: str, default: bool) -> bool:
        text = self._given.get(name)
        if text is None:
            return default
        if text.lower() not in ("true", "false", "1", "0"):
            raise RequestError(f"`{name}` must be true or false, not {_shown(text)!r}.", name, "invalid_value")
        return text.lower() in ("true", "1")

    def members(self, name: str, kind: type[_Member], default: str = "") -> list[_Member]:
        """Of a comma-separated list."""
        found = []
        for word in self._given.get(name, default).split(","):
            try:
                found += [kind(word)] if word else []
            except ValueError:
                allowed = ", ".join(str(member.value) for member in kind)
                raise RequestError(
                    f"`{name}`: {_shown(word)!r} is not one of {allowed}.", name, "invalid_value"
                ) from None
        return found


def _shown(text: str) -> str:
    return text[:_SHOWN] if text.isprintable() else ascii(text[:_SHOWN])[1:-1]

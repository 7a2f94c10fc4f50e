"""Reads the small JSON files of a model folder as what they are: somebody else's data.

Promises: nothing larger than the cap is read, whatever is in the file gives a value or one `ModelRefusedError` that
names the file and the field.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coordinator.errors import ModelRefusedError

MAX_BYTES = 1 << 20
_LARGEST = 1 << 40


@dataclass(frozen=True, slots=True)
class Fields:
    """The top level of one file, or of a table in it."""

    file: Path
    values: Mapping[str, object]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def integer(self, *names: str) -> int | None:
        """The first of `names` that is there; null counts as absent.

        Raises:
            ModelRefusedError: it is not a whole number from 1 to 2⁴⁰.
        """
        for name in names:
            value = self.values.get(name)
            if value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST:
                raise ModelRefusedError(f"{self.file}: {name} is {value!r:.40}, but must be a whole number from 1 on.")
            return value
        return None

    def texts(self, name: str) -> list[str]:
        """A list of texts, empty if absent."""
        value = self.values.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ModelRefusedError(f"{self.file}: {name} must be a list of texts.")
        return [item for item in value if isinstance(item, str)]

    def text(self, name: str) -> str:
        """A text, empty if absent."""
        value = self.values.get(name, "")
        return value if isinstance(value, str) else ""

    def table(self, name: str) -> "Fields | None":
        value = self.values.get(name)
        return Fields(self.file, value) if isinstance(value, dict) else None


def read_fields(file: Path, max_bytes: int = MAX_BYTES) -> Fields:
    """A file that holds one JSON object."""
    value = read_json(file, max_bytes)
    if not isinstance(value, dict):
        raise ModelRefusedError(f"{file} must hold a JSON object.")
    return Fields(file, value)


def read_json(file: Path, max_bytes: int = MAX_BYTES) -> object:
    with file.open("rb") as opened:
        data = opened.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ModelRefusedError(f"{file} is larger than the {max_bytes >> 20} MiB that such a file may have.")
    return parse_json(data, file)


def parse_json(data: bytes, file: Path) -> object:
    try:
        return json.loads(data, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelRefusedError(f"{file} is not proper JSON: {str(error)[:200] or 'nested too deeply'}.") from None


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return table


def _no_constant(name: str) -> object:
    return None if name == "NaN" else float(name.replace("Infinity", "inf"))

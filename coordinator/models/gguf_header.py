"""Reads what the catalogue must know from the header of a GGUF file, with a hard cap on everything.

Only the header is read, by plain code, into numbers and short texts; the sandboxed engine parses the rest. Refuses
files of other versions, split files, and tensors that lie outside the file.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from coordinator.errors import ModelRefusedError

MAX_HEADER = 128 << 20
MAX_TENSORS = 100_000
MAX_FIELDS = 10_000
MAX_ITEMS = 4_000_000
"""Elements of one array: vocabularies have some 250,000."""
_MAX_KEY = 1024
_MAX_TEXT = 1 << 20
_KEPT_TEXT = 256
_MAX_DIMENSIONS = 4
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
"""Per GGML type: elements in a block, and the bytes that it takes."""

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class GgufHeader:
    fields: dict[str, Scalar]
    """Scalars, and texts of at most 256 characters; arrays are represented by their length."""
    parameters: int

    def integer(self, key: str) -> int | None:
        """A field of the model's architecture, such as `block_count`."""
        value = self.fields.get(f"{self.fields.get('general.architecture')}.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

    def text(self, key: str) -> str:
        value = self.fields.get(key)
        return value if isinstance(value, str) else ""


def read_gguf(file: Path) -> GgufHeader:
    """Parse and check the header.

    Raises:
        ModelRefusedError: names the file and what is wrong.
    """
    try:
        with file.open("rb") as opened:
            return _Reader(opened, file.stat().st_size).header()
    except _BadHeader as error:
        raise ModelRefusedError(f"{file} cannot be served: {error}.") from None


class _BadHeader(Exception):
    pass


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._at = 0

    def header(self) -> GgufHeader:
        if self._take(4) != b"GGUF":
            raise _BadHeader("it is not a GGUF file")
        version = self._number("<I")
        if version not in _VERSIONS:
            raise _BadHeader(f"it is GGUF version {version}; versions {_VERSIONS} are known")
        tensors = self._count("<Q", MAX_TENSORS, "tensors")
        fields: dict[str, Scalar] = {}
        for _ in range(self._count("<Q", MAX_FIELDS, "fields")):
            key = self._text(_MAX_KEY)
            if key in fields:
                raise _BadHeader(f"the field {key[:80]!r} stands twice")
            fields[key] = self._value(self._number("<I"))
        parameters, ends = 0, 0
        for _ in range(tensors):
            count, end = self._tensor()
            parameters, ends = parameters + count, max(ends, end)
        alignment = fields.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 16:
            raise _BadHeader("its alignment is not a number from 1 to 65536")
        if -(-self._at // alignment) * alignment + ends > self._size:
            raise _BadHeader("its tensors do not lie within the file, which may be cut short")
        return GgufHeader(fields, parameters)

    def _value(self, kind: int) -> Scalar:
        if kind == _STRING:
            return self._text(_MAX_TEXT)[:_KEPT_TEXT]
        if kind == _ARRAY:
            return self._skip_array()
        return self._number(self._form(kind))

    def _skip_array(self) -> int:
        kind = self._number("<I")
        length = self._count("<Q", MAX_ITEMS, "elements in an array")
        if kind == _STRING:
            for _ in range(length):
                self._skip(self._count("<Q", _MAX_TEXT, "characters in a text"))
        elif kind == _ARRAY:
            raise _BadHeader("it nests arrays")
        else:
            self._skip(length * struct.calcsize(self._form(kind)))
        return length

    def _tensor(self) -> tuple[int, int]:
        """Elements, and where its data end, from the start of the data."""
        name = self._text(_MAX_KEY)
        dimensions = self._count("<I", _MAX_DIMENSIONS, "dimensions of a tensor")
        elements = math.prod(self._count("<Q", 1 << 40, "elements in a dimension") for _ in range(dimensions))
        kind, offset = self._number("<I"), self._number("<Q")
        block = _BLOCKS.get(int(kind))
        if block is None:
            raise _BadHeader(f"tensor {name[:80]!r} has the unknown type {kind}")
        return elements, int(offset) + -(-elements // block[0]) * block[1]

    def _form(self, kind: int) -> str:
        form = _SCALARS.get(kind)
        if form is None:
            raise _BadHeader(f"a field has the unknown type {kind}")
        return form

    def _count(self, form: str, most: int, what: str) -> int:
        number = self._number(form)
        if number > most:
            raise _BadHeader(f"it claims {number} {what}; at most {most} are allowed")
        return int(number)

    def _text(self, most: int) -> str:
        return self._take(self._count("<Q", most, "characters in a text")).decode("utf-8", "replace")

    def _number(self, form: str) -> int:
        number: int = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        return number

    def _take(self, size: int) -> bytes:
        self._advance(size)
        data = self._file.read(size)
        if len(data) != size:
            raise _BadHeader("it is cut short")
        return data

    def _skip(self, size: int) -> None:
        self._advance(size)
        self._file.seek(size, 1)

    def _advance(self, size: int) -> None:
        self._at += size
        if self._at > min(self._size, MAX_HEADER):
            raise _BadHeader("it is cut short" if self._at > self._size else f"its header exceeds {MAX_HEADER} bytes")

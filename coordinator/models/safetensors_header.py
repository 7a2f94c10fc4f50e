"""Checks a safetensors file by its header, without loading a tensor.

Refuses headers over 16 MiB, over 100,000 tensors, unknown types, and offsets that overlap, leave gaps, or lie outside
the file: a file that passes cannot make a loader read what is not the tensor's.
"""

import math
from pathlib import Path
from typing import TypeGuard

from coordinator.errors import ModelRefusedError
from coordinator.models.json_files import parse_json
from coordinator.models.memory import Weights

MAX_HEADER = 16 << 20
MAX_TENSORS = 100_000
_MAX_DIMENSIONS = 8
_BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4,
}  # fmt: skip


def check_safetensors(file: Path) -> Weights:
    """What the tensors hold.

    Raises:
        ModelRefusedError: names the file and what is wrong.
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > size - 8:
            raise ModelRefusedError(f"{file} is not a safetensors file, or is cut short.")
        if length > MAX_HEADER:
            raise ModelRefusedError(f"{file} has a header of {length} bytes; at most {MAX_HEADER} are allowed.")
        header = parse_json(opened.read(length), file)
    if not isinstance(header, dict):
        raise ModelRefusedError(f"{file} is not a safetensors file: its header is not a JSON object.")
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise ModelRefusedError(f"{file} names {len(header)} tensors; at most {MAX_TENSORS} are allowed.")
    spans = [_span(file, name, entry) for name, entry in header.items()]
    _check_layout([(begin, end, name) for begin, end, name, _ in spans], size - 8 - length, file)
    largest = max((end - begin for begin, end, _, _ in spans), default=0)
    return Weights(sum(count for *_, count in spans), largest)


def _span(file: Path, name: str, entry: object) -> tuple[int, int, str, int]:
    """Where a tensor begins and ends, its name, and how many numbers it holds."""
    where = f"{file}, tensor {name[:80]!r}"
    if not isinstance(entry, dict):
        raise ModelRefusedError(f"{where}: its description is not an object.")
    bits, shape, offsets = _BITS.get(str(entry.get("dtype"))), entry.get("shape"), entry.get("data_offsets")
    if bits is None:
        raise ModelRefusedError(f"{where}: its type {str(entry.get('dtype'))[:20]!r} is not known.")
    if not _whole(shape) or len(shape) > _MAX_DIMENSIONS:
        raise ModelRefusedError(f"{where}: its shape is not a list of at most {_MAX_DIMENSIONS} sizes.")
    if not _whole(offsets) or len(offsets) != 2:
        raise ModelRefusedError(f"{where}: its offsets are not two places in the file.")
    begin, end = offsets
    if (end - begin) * 8 != math.prod(shape) * bits:
        raise ModelRefusedError(f"{where}: its offsets do not hold as many bytes as its shape and type need.")
    return begin, end, name, math.prod(shape)


def _check_layout(spans: list[tuple[int, int, str]], data_bytes: int, file: Path) -> None:
    at = 0
    for begin, end, name in sorted(spans):
        if begin != at or end > data_bytes:
            raise ModelRefusedError(
                f"{file}, tensor {name[:80]!r}: its offsets overlap, leave a gap or leave the file."
            )
        at = end
    if at != data_bytes:
        raise ModelRefusedError(f"{file} holds {data_bytes - at} bytes that belong to no tensor.")


def _whole(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 1 << 48 for item in value
    )

"""What a conversion inside the sandbox may leave behind. Pure but for looking at the folder.

The process that wrote these files read a stranger's model, so nothing about them is believed: only regular files with
one name each, plain names and the suffixes that hold data and never code are taken; all else refuses the whole result.
"""

import re
import stat
from pathlib import Path

from gogrid.protocol.job_messages import FailCode
from gogrid.sizes import format_size
from runner.errors import ModelError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SUFFIXES = (".safetensors", ".json", ".jinja", ".txt")
_MOST_FILES = 1000
_HEADER_LIMIT = 16 << 20


def check_converted(folder: Path, most_bytes: int) -> int:
    """The bytes of an acceptable result.

    Raises:
        ModelError: names the file and what is wrong with it.
    """
    total = 0
    entries = sorted(folder.iterdir())
    if len(entries) > _MOST_FILES:
        raise _refused(f"it left more than {_MOST_FILES} files")
    for path in entries:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise _refused(f"{path.name!r} is not a plain file")
        if not _NAME.fullmatch(path.name) or path.suffix not in _SUFFIXES:
            raise _refused(f"{path.name!r} is none of {', '.join(_SUFFIXES)}")
        if path.suffix == ".safetensors":
            _check_safetensors(path, found.st_size)
        total += found.st_size
    if not any(path.suffix == ".safetensors" for path in entries):
        raise _refused("it left no weights")
    if total > most_bytes:
        raise _refused(f"its result is larger than {format_size(most_bytes)}")
    return total


def _check_safetensors(path: Path, size: int) -> None:
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        if size < 8 or not 0 < header <= min(_HEADER_LIMIT, size - 8) or file.read(1) != b"{":
            raise _refused(f"{path.name!r} is not a safetensors file")


def _refused(what: str) -> ModelError:
    return ModelError(f"The model's conversion was refused: {what}.", FailCode.MODEL_UNUSABLE)

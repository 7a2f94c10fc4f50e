"""What `gogrid run` sends: the script and its files, by the names that they have in the job.

Promises: only plain files, each read whole; names that mean the same on every system; no two names that some system
takes for one; never more than a coordinator takes. Refuses, by `UsageError`, in one sentence that names the file.

A folder brings all that lies below it, but for names that begin with a dot, `__pycache__`, and links to folders.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from gogrid.client.errors import OutputError
from gogrid.client.output import safe_parts
from gogrid.client.shell import UsageError
from gogrid.sizes import format_size

MOST_BYTES = 8 << 20
"""All files of one job together, as the coordinator allows."""
MOST_FILES = 1000
ENTRIES = ("main.py", "__main__.py")
"""What a folder is started by, the first that is there."""


@dataclass(frozen=True, slots=True)
class Bundle:
    files: dict[str, bytes]
    entry: str


def of_code(code: str, inputs: Sequence[Path]) -> Bundle:
    """`-c CODE`."""
    gathering = _Gathering()
    gathering.add("main.py", f"{code}\n".encode(), "the code of -c")
    gathering.add_inputs(inputs)
    return Bundle(gathering.files, "main.py")


def of_path(script: Path, inputs: Sequence[Path], entry: str | None) -> Bundle:
    """A script, or a folder with `entry` or one of `ENTRIES` in it."""
    gathering = _Gathering()
    if script.is_dir():
        for name, path in _below(script):
            gathering.read(name, path)
        entry = _entry(script, gathering.files, entry)
    elif entry is not None:
        raise UsageError(f"--entry is for folders, and {script} is none.")
    else:
        entry = script.name
        gathering.read(entry, script)
    gathering.add_inputs(inputs)
    return Bundle(gathering.files, entry)


def _entry(folder: Path, files: dict[str, bytes], wanted: str | None) -> str:
    if wanted is not None:
        name = PurePosixPath(*PurePath(wanted).parts).as_posix()
        if name not in files:
            raise UsageError(f"--entry {wanted}: {folder} has no such file that is sent.")
        return name
    found = next((name for name in ENTRIES if name in files), None)
    if found is None:
        raise UsageError(f"{folder} has no {' or '.join(ENTRIES)}: name the file to run with --entry.")
    return found


class _Gathering:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._taken: dict[str, str] = {}
        self._size = 0

    def add_inputs(self, inputs: Sequence[Path]) -> None:
        for path in inputs:
            if path.is_dir():
                for name, below in _below(path):
                    self.read(_joined(_kept_name(path), name), below)
            else:
                self.read(_kept_name(path), path)

    def read(self, name: str, path: Path) -> None:
        self._check(name, str(path))
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is not a plain file.")
        try:
            with path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
        self._keep(name, content)

    def add(self, name: str, content: bytes, what: str) -> None:
        self._check(name, what)
        self._keep(name, content)

    def _check(self, name: str, what: str) -> None:
        folded = name.casefold()
        if folded in self._taken:
            raise UsageError(f"{what} would be {name!r} in the job, as {self._taken[folded]} is: rename one of them.")
        try:
            safe_parts(name)
        except OutputError as error:
            raise UsageError(f"{what} cannot be sent: {name!r} is not a plain file name on every system.") from error
        self._taken[folded] = what

    def _keep(self, name: str, content: bytes) -> None:
        self.files[name] = content
        self._size += len(content)
        if self._size > MOST_BYTES:
            raise UsageError(f"All files together are more than the {format_size(MOST_BYTES)} that a job may have.")
        if len(self.files) > MOST_FILES:
            raise UsageError(f"There are more than the {MOST_FILES} files that a job may have.")


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file to send, by its path below the folder, in the order of names."""

    def refuse(error: OSError) -> None:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror or error}.") from error

    for here, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        for name in sorted(names):
            if not name.startswith("."):
                path = Path(here, name)
                yield path.relative_to(folder).as_posix(), path


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _kept_name(path: Path) -> str:
    """Relative paths that stay below this folder are kept, others lose their folder; empty for this folder itself."""
    plain = PurePath(path)
    if plain.is_absolute() or ".." in plain.parts:
        return path.resolve().name
    return PurePosixPath(*plain.parts).as_posix() if plain.parts else ""

"""What a script left in its working folder: found, counted and read without ever following anything the script made.

Runs inside the sandbox after every process of the script is dead, so nothing changes any more. Promises: only regular
files; each step opened by folder descriptor with `O_NOFOLLOW`; bounded by `OutputLimits` whatever the tree looks like.
Links, pipes, sockets, what cannot be opened and what is nested too deep is left out and counted; the links to the job's
own input files, which the supervisor puts there, are left out and not counted.
"""

import os
import stat
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from runner.python_job.names import MAX_DEPTH, MAX_NAMES_BYTES, plain_name

_MORE_ENTRIES = 1000
"""Folders and what is left out may be so many more than files."""
_MAX_INPUTS = 1000
"""Links to the job's own files, which are not counted."""
_PIECE = 256 << 10
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OutputLimits(NamedTuple):
    total_bytes: int
    files: int


class OutputFound(NamedTuple):
    path: tuple[str, ...]
    """As the script named it, part by part."""
    name: str
    """As it will be known outside; passes `check_name`."""
    size: int


class Survey(NamedTuple):
    files: tuple[OutputFound, ...]
    left_out: int
    too_large: bool
    """Over a limit: `files` is empty."""


def survey(folder: int, limits: OutputLimits) -> Survey:
    """Look at all that lies below an open folder, in the order of its names."""
    files: list[OutputFound] = []
    taken: set[str] = set()
    total = left_out = folders = names = 0
    most_entries = limits.files + _MORE_ENTRIES
    for path, size in _walk(folder, (), most_entries):
        if size is None:
            left_out += 1
        elif size == _IS_FOLDER:
            folders += 1
        else:
            total += size
            files.append(OutputFound(path, plain_name(path, taken), size))
            names += len(files[-1].name.encode())
        if (
            total > limits.total_bytes
            or len(files) > limits.files
            or names > MAX_NAMES_BYTES
            or left_out + folders > most_entries
        ):
            return Survey((), left_out, too_large=True)
    return Survey(tuple(files), left_out, too_large=False)


def read(folder: int, file: OutputFound) -> Iterator[bytes]:
    """Exactly `file.size` bytes, in pieces. Raises OSError if the file is no longer what the survey saw."""
    opened = os.dup(folder)
    try:
        for part, flags in [*((part, _FOLDER) for part in file.path[:-1]), (file.path[-1], _FILE)]:
            below = os.open(part, flags, dir_fd=opened)
            os.close(opened)
            opened = below
        left = file.size
        while left:
            piece = os.read(opened, min(_PIECE, left))
            if not piece:
                raise OSError(f"{file.name} became shorter")
            left -= len(piece)
            yield piece
    finally:
        os.close(opened)


_IS_FOLDER = -1
INPUTS = "/job/in"


def link_inputs(working_folder: str) -> None:
    """Let the script find its input files where it works, as it would at home; they stay read-only."""
    for folder, _, names in os.walk(INPUTS):
        here = os.path.normpath(os.path.join(working_folder, os.path.relpath(folder, INPUTS)))
        os.makedirs(here, exist_ok=True)
        for name in names:
            os.symlink(os.path.join(folder, name), os.path.join(here, name))


def _is_input(name: str, folder: int) -> bool:
    return os.readlink(name, dir_fd=folder).startswith(f"{INPUTS}/")


def _walk(folder: int, above: tuple[str, ...], most: int) -> Iterator[tuple[tuple[str, ...], int | None]]:
    """Every entry: (path, size), `_IS_FOLDER` for a folder's size, None for what is to be left out.

    Of a folder with more than `most` entries some one more than that, so that a million of them cost nothing.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in islice(entries, most + _MAX_INPUTS + 1))
    for name in names:
        path = (*above, name)
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and len(path) <= MAX_DEPTH:
                os.close(os.open(name, _FILE, dir_fd=folder))
                yield path, status.st_size
                continue
            if stat.S_ISLNK(status.st_mode) and _is_input(name, folder):
                continue
            if not stat.S_ISDIR(status.st_mode) or len(path) > MAX_DEPTH:
                yield path, None
                continue
            below = os.open(name, _FOLDER, dir_fd=folder)
        except OSError:
            yield path, None
            continue
        try:
            yield path, _IS_FOLDER
            yield from _walk(below, path, most)
        finally:
            os.close(below)

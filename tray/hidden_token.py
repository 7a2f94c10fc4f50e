"""A join token that came on the command line does not stay there, where every user of the machine could read it.

A desktop hands a `gogrid://join/…` link over as a word of a command line; there is no other way for a program that it
starts. Promises: from the first moment that this program has a say its command line shows `x` in place of the token
(Linux; elsewhere it is left until another program takes this one's place), and no program that is started after it gets
the token as a word: it comes from standard input, as with `join -`. Windows shows a command line to its own user only.
"""

import os
import sys
from collections.abc import Sequence

STARTS = ("ggj1_", "gogrid://")
"""Of tokens and of links."""
_LONGEST = 8192
"""Characters; what is longer is no token, and would not fit into a pipe that nobody reads yet."""
_ARGUMENTS_BEGIN, _ARGUMENTS_END = 47, 48
"""Fields of `/proc/self/stat`, counted from 0."""


def conceal(words: Sequence[str]) -> list[str]:
    """The words with `-` for the token of a `join`, which is the next line of standard input from now on."""
    kept = list(words)
    at = next((at for at, word in enumerate(kept) if word.startswith(STARTS)), None)
    if at is None or "join" not in kept[:at] or sys.platform == "win32" or len(kept[at]) > _LONGEST:
        return kept
    token = os.fsencode(kept[at])
    _becomes_input(token + b"\n")
    _overwrite(token)
    kept[at] = "-"
    return kept


def _becomes_input(line: bytes) -> None:
    reading, writing = os.pipe()
    os.write(writing, line)
    os.close(writing)
    if reading != 0:
        os.dup2(reading, 0)
        os.close(reading)
    os.set_inheritable(0, True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)


def _overwrite(token: bytes) -> None:
    """In the memory from which the system shows this process' command line; where that is closed to us it stays."""
    if sys.platform != "linux":
        return
    import ctypes

    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
        # Behind the name, which may hold blanks, stands the third field.
        begin, end = int(fields[_ARGUMENTS_BEGIN - 2]), int(fields[_ARGUMENTS_END - 2])
    except (OSError, ValueError, IndexError):
        return
    if not 0 < begin < end:
        return
    shown = ctypes.string_at(begin, end - begin)
    at = shown.find(token)
    while at >= 0:
        ctypes.memset(begin + at, ord("x"), len(token))
        at = shown.find(token, at + 1)

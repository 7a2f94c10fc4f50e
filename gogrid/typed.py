"""Commands as they are printed for people to copy.

Promises: what is printed reads, pasted into this system's usual shell, as exactly the given words: nothing in a
folder's name is taken for a second word or obeyed. On Windows that is `cmd`, in whose quotes `%NAME%` still stands for
a variable; Windows' own rules keep quotation marks out of paths.
"""

import re
import shlex
import sys
from collections.abc import Iterable

_PLAIN_ON_WINDOWS = re.compile(r"[\w:.,+@~/\\=-]+")
_LAST_BACKSLASHES = re.compile(r"(\\+)$")


def typed(words: Iterable[str], platform: str = sys.platform) -> str:
    """The words with quotes where they need them, separated by spaces.

    Args:
        platform: as `sys.platform` has it.
    """
    return " ".join(map(_on_windows if platform == "win32" else shlex.quote, words))


def _on_windows(word: str) -> str:
    if _PLAIN_ON_WINDOWS.fullmatch(word):
        return word
    return '"' + _LAST_BACKSLASHES.sub(r"\1\1", word) + '"'

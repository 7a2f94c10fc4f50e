"""Names of the files that a job takes and gives: relative, plain, and the same on every system that may store them.

`check_name` judges a name from outside; `plain_name` makes one that passes out of any name a script has used.
"""

import unicodedata

MAX_PART_BYTES = 200
MAX_NAME_BYTES = 1000
MAX_DEPTH = 16
MAX_NAMES_BYTES = 512 << 10
"""Of the names of all files of a job together, which travel in one message."""

_TRIED_IN_TURN = 10
"""So many numbers are tried one by one for a name that is taken; then one that hardly any other has."""

_FORBIDDEN = frozenset('\\:*?"<>|')
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{device}{number}" for device in ("com", "lpt") for number in range(1, 10))}
)


def check_name(name: str) -> str:
    """Why a file may not have this name, in words that complete "its name …"; empty: it may."""
    parts = name.split("/")
    if len(name.encode(errors="surrogatepass")) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    if len(parts) > MAX_DEPTH:
        return f"has more than {MAX_DEPTH} parts"
    if any(part in ("", ".", "..") for part in parts):
        return "is not a plain path below its folder"
    if any(_plain_part(part) != part for part in parts):
        return "has characters or parts that not every system can store"
    return ""


def plain_name(parts: tuple[str, ...], taken: set[str]) -> str:
    """A name that `check_name` accepts and that no file system takes for one of `taken`.

    Args:
        parts: the path below the folder, from one to `MAX_DEPTH` parts, as the system lists them.
        taken: the folded names given so far; the new one is added.
    """
    plain = [_plain_part(part) for part in parts]
    name, number = "/".join(plain), 1
    while _folded(name) in taken or len(name.encode()) > MAX_NAME_BYTES:
        number = number + 1 if number < _TRIED_IN_TURN else len(taken) + number
        stem, dot, ending = plain[-1].rpartition(".")
        last = f"{stem or ending}-{number}{dot if stem else ''}{ending if stem else ''}"
        folder = plain[:-1] if len("/".join(plain).encode()) <= MAX_NAME_BYTES else ["long"]
        name = "/".join([*folder, _plain_part(last)])
    taken.add(_folded(name))
    return name


def _folded(name: str) -> str:
    """Equal for two names that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _plain_part(part: str) -> str:
    kept = "".join("_" if _is_odd(character) else character for character in part)
    while len(kept.encode()) > MAX_PART_BYTES:
        kept = kept[: len(kept) // 2] + kept[len(kept) // 2 + 1 :]
    if kept.endswith((".", " ")):
        kept = kept[:-1] + "_"
    if kept.partition(".")[0].casefold() in _RESERVED:
        kept = "_" + kept[1:]
    return kept


def _is_odd(character: str) -> bool:
    return character in _FORBIDDEN or character == "/" or not character.isprintable()

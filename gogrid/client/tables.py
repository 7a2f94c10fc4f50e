"""Aligned plain-text tables, and the few words in which times are shown. Pure: the clock is a parameter."""

import unicodedata
from collections.abc import Sequence

from gogrid.terminal import one_line


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart, no trailing blanks; cells are made harmless for a terminal.

    The last column is never padded, so that long text there costs nothing.
    """
    cells = [list(headers), *([one_line(cell) or "-" for cell in row] for row in rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(headers))]
    return "".join(
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        for row in cells
    )


def _width(text: str) -> int:
    """Columns that a terminal gives it."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) != 0 for character in text)


def span(seconds: float) -> str:
    """`8 s`, `3 min`, `5 h`, `12 d`."""
    whole = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def ago(moment: float | None, now: float) -> str:
    """`3 min ago`, or `-` for a moment that has not come."""
    return "-" if moment is None else f"{span(now - moment)} ago"

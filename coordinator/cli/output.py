"""How the admin's commands speak: words for people, or one JSON value with `--json`, on standard output."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

Json = None | bool | int | float | str | Sequence["Json"] | dict[str, "Json"]


def show(value: Json, words: str, as_json: bool) -> None:
    """Print `value` as JSON, or `words`."""
    print(json.dumps(value, indent=2, ensure_ascii=False) if as_json else words)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> str:
    """Columns as wide as their content; `empty` if there are no rows."""
    if not rows:
        return empty
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (headings, *rows)]
    return "\n".join(line.rstrip() for line in lines)


def moment(seconds: float | None) -> str:
    """`2026-11-22 01:30 UTC`."""
    return "never" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def complain(sentence: str) -> None:
    """One line on standard error; characters that would steer a terminal are shown as text."""
    line = " ".join(sentence.split())
    print("gogrid-coordinator: " + "".join(c if c.isprintable() else repr(c)[1:-1] for c in line), file=sys.stderr)

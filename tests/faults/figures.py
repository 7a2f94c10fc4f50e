"""What a fault did: one row for each fault, shown as one table and kept as JSON.

A row is added before it is judged, so that a fault that was not survived is in the table too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.faults.checker import Verdict

_HEADS = ("fault", "count", "lost", "duplicated", "unexpected", "other figures", "goal", "met")


@dataclass(frozen=True, slots=True)
class Row:
    fault: str
    """Its name; with a detail behind a colon where one fault has several rows."""
    count: int
    """How often it was done."""
    goal: str
    met: bool
    verdict: Verdict | None = None
    """None where no job is counted."""
    others: Mapping[str, float | int | str] = field(default_factory=dict)
    """Name with its unit to figure: `{"workers back p99 s": 8.1}`."""

    def cells(self) -> tuple[str, ...]:
        verdict = self.verdict
        counts = ("-",) * 3 if verdict is None else tuple(str(count) for count in verdict.counts)
        others = ", ".join(f"{name} {_short(value)}" for name, value in self.others.items())
        return (self.fault, str(self.count), *counts, others, self.goal, "yes" if self.met else "NO")


class Table:
    """The rows of one run, in the order in which they came; a fault's later row takes the place of its earlier one."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def add(self, row: Row) -> Row:
        self.rows[row.fault] = row
        return row

    def text(self) -> str:
        lines = [_HEADS, *(row.cells() for row in self.rows.values())]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
        return "\n".join(
            " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def save(self, file: Path, *, keep: bool) -> None:
        """As JSON; with `keep` the rows of other faults stay as an earlier run left them."""
        file.parent.mkdir(parents=True, exist_ok=True)
        found = json.loads(file.read_text()) if keep and file.exists() else {}
        for name, row in self.rows.items():
            counts = row.verdict.counts if row.verdict is not None else (None,) * 3
            found[name] = {
                "count": row.count,
                **dict(zip(("lost", "duplicated", "unexpected"), counts, strict=True)),
                "others": dict(row.others),
                "goal": row.goal,
                "met": row.met,
                "why": list(asdict(row.verdict)["examples"]) if row.verdict is not None else [],
            }
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def _short(value: float | int | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def percentile(values: Sequence[float], share: float) -> float:
    """-1 of nothing."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else -1.0

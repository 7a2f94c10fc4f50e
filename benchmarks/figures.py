"""What a benchmark prints: one figure, what it must reach, and whether it does."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    what: str
    value: float
    unit: str
    limit: float | None = None
    at_least: bool = True
    """Whether `limit` is a floor or a ceiling."""
    detail: str = ""

    @property
    def reached(self) -> bool:
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def row(self) -> str:
        sign = "≥" if self.at_least else "≤"
        goal = "" if self.limit is None else f"{sign} {self.limit:g}"
        verdict = "" if self.limit is None else ("yes" if self.reached else "**no**")
        return f"| {self.what} | {self.value:.4g} {self.unit} | {goal} | {verdict} | {self.detail} |"


def markdown(figures: Iterable[Figure]) -> str:
    head = "| what | measured | goal | reached | detail |\n|---|---|---|---|---|\n"
    return head + "\n".join(figure.row() for figure in figures)

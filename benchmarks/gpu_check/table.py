"""What the check prints and how it exits: pure."""

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_OVERSHOOT_S = 1.0
LEAST_SHARE = 0.8
"""Tokens a second inside the sandbox, of those outside: less means that the sandbox costs something."""


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    ok: bool
    detail: str

    @property
    def mark(self) -> str:
        return "ok" if self.ok else "FAILED"


def table(steps: Sequence[Step]) -> str:
    """One line for each step, in columns."""
    width = max((len(step.name) for step in steps), default=0)
    return "\n".join(f"{step.name:<{width}}  {step.mark:<6}  {step.detail}" for step in steps)


def exit_code(steps: Sequence[Step], planned: int) -> int:
    """0 only if every planned step ran and was in order."""
    return 0 if len(steps) == planned and all(step.ok for step in steps) else 1


def overshoot_step(name: str, *, killed: bool, why: str, over_s: float | None) -> Step:
    """Of a script that ignores the cap: it must be killed for its memory, in time.

    Args:
        over_s: from its first byte over the cap to its end, seconds; None: it was never seen over the cap.
    """
    if not killed:
        return Step(name, False, f"it was not killed for its memory: {why or 'it ended by itself'}")
    if over_s is None:
        return Step(name, False, f"it was killed before it was over the cap: {why}")
    detail = f"killed {over_s:.2f} s after it passed the cap (at most {LONGEST_OVERSHOOT_S:g} s): {why}"
    return Step(name, over_s <= LONGEST_OVERSHOOT_S, detail)


def speed_step(name: str, inside: float, outside: float) -> Step:
    """Tokens a second of one engine, inside and outside the sandbox."""
    share = inside / outside if outside > 0 else 0.0
    return Step(name, share >= LEAST_SHARE, f"{inside:,.0f} tokens/s inside, {outside:,.0f} outside: {share:.0%}")


def budget_step(name: str, held: int, cap: int, said: int) -> Step:
    """What an engine held of the GPU at most, as the driver told, beside its cap and its own number, in bytes."""
    detail = f"held {held / 1e6:,.0f} MB of {cap / 1e6:,.0f} MB granted; it said {said / 1e6:,.0f} MB"
    if held == 0:
        return Step(name, False, f"{detail}; the driver does not show it by its process id on this machine")
    return Step(name, held <= cap, detail)

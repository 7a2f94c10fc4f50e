"""Which sandbox has to go when memory is used beyond what was granted. A core: looks and `now` in, verdicts out.

Promises: a sandbox with a limit of its own (a script) goes when it alone is over that in two looks in a row; a model's
only when everybody together is over the owner's cap in two looks in a row, and then the one that grew furthest past
its share, so that nobody pays for another's growth. One goes at a time, the next looks judge what is left. Every
verdict names the use and the cap in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gogrid.sizes import format_size
from runner.sandbox.memory_watch import Sample, over

_KEPT = 4
"""Looks that are remembered of each sandbox."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One sandbox at one look."""

    key: int
    used: int
    share: int
    """What it was granted, bytes."""
    bound: bool
    """It may never use more than its share, whether or not there is room."""


@dataclass(frozen=True, slots=True)
class Verdict:
    key: int
    reason: str
    """One sentence without a subject at its beginning: `used 9 GB of memory, …`."""


class Overuse:
    """Of one kind of memory; `judge` once for each look."""

    def __init__(self, kind: str) -> None:
        """`kind` in words: `memory`, `GPU memory`."""
        self._kind = kind
        self._looks: dict[int, list[Sample]] = {}
        self._together: list[Sample] = []

    def judge(self, holdings: Sequence[Holding], cap: int, now: float) -> tuple[Verdict, ...]:
        """Who is to be killed.

        Args:
            cap: bytes that all of them may use together.
            now: monotonic seconds; the look was taken then.
        """
        self._remember(holdings, now)
        verdicts = [
            Verdict(one.key, self._alone(one))
            for one in holdings
            if one.bound and over(self._looks[one.key], one.share, now)
        ]
        if over(self._together, cap, now):
            gone = {verdict.key for verdict in verdicts}
            rest = [one for one in holdings if one.key not in gone]
            together = sum(one.used for one in rest)
            if together > cap:
                worst = max(rest, key=lambda one: one.used - one.share)
                verdicts.append(Verdict(worst.key, self._with_others(worst, together, cap)))
        for verdict in verdicts:
            self._looks.pop(verdict.key, None)
        if verdicts:
            self._together.clear()  # what they held comes free: who is left is judged anew
        return tuple(verdicts)

    def _remember(self, holdings: Sequence[Holding], now: float) -> None:
        self._looks = {one.key: self._looks.get(one.key, [])[-_KEPT:] for one in holdings}
        for one in holdings:
            self._looks[one.key].append(Sample(now, one.used))
        self._together = [*self._together[-_KEPT:], Sample(now, sum(one.used for one in holdings))]

    def _alone(self, one: Holding) -> str:
        return f"used {format_size(one.used)} of {self._kind} and its limit is {format_size(one.share)}"

    def _with_others(self, one: Holding, together: int, cap: int) -> str:
        used = f"used {format_size(one.used)} of {self._kind}"
        lent = f"its owner lends {format_size(cap)}"
        if one.used == together:
            return f"{used} and {lent}"
        return f"{used} (its share was {format_size(one.share)}), with others {format_size(together)}, and {lent}"

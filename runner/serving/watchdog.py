"""Whether a silent model process still works or hangs. Pure: looks at the process and times are given.

Promises: a process that was stopped from outside is found at the first look; one that neither computes nor reads from
its disk is given up after `stalled_s`; one that computes is legitimate however slow its machine is, up to the generous
`longest_s`. Time in which nobody could look (the machine slept, the runner itself was stopped) counts for nothing.
"""

from dataclasses import dataclass

_LEAST_CPU_S = 0.02
"""What a process that only waits may use between two looks by waking up now and then."""


@dataclass(frozen=True, slots=True)
class WatchTerms:
    silent_s: float = 0.5
    """A process with work that says nothing for this long is looked at, and again after as long."""
    stalled_s: float = 30.0
    longest_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class Look:
    """What the operating system says of a process and its children."""

    stopped: bool
    """One of them was stopped by a signal."""
    at_work: bool
    """One of them runs or waits for a disk at this moment."""
    cpu_s: float
    """What they have used since they started."""


class Watchdog:
    """Of one process; `judge` once for each look while it is silent, `heard` for each word from it."""

    def __init__(self, terms: WatchTerms) -> None:
        self.terms = terms
        self._cpu_s: float | None = None
        self._looked_at = 0.0
        self._stalled_s = 0.0
        self._silent_s = 0.0

    def heard(self) -> None:
        self._cpu_s = None
        self._stalled_s = self._silent_s = 0.0

    def judge(self, look: Look, now: float) -> str:
        """Why the process is given up, to follow "its process"; empty: it is not."""
        if look.stopped:
            return "was stopped from outside"
        if self._cpu_s is None:
            self._silent_s = self.terms.silent_s
        else:
            passed = min(now - self._looked_at, 2 * self.terms.silent_s)
            self._silent_s += passed
            worked = look.at_work or look.cpu_s - self._cpu_s >= _LEAST_CPU_S
            self._stalled_s = 0.0 if worked else self._stalled_s + passed
        self._cpu_s, self._looked_at = look.cpu_s, now
        if self._stalled_s >= self.terms.stalled_s:
            return f"did nothing for {self._stalled_s:.0f} s with requests open"
        if self._silent_s >= self.terms.longest_s:
            return f"computed for {self._silent_s:.0f} s without a word"
        return ""

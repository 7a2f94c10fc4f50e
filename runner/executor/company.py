"""How long an idle engine waits for company: requests that begin together share their passes from first to last. Pure.

Promises: a request that has been alone waits for nobody, and an engine that works never waits. When several were served
at once before the engine fell idle, as many are waited for again, but never longer than `Patience` allows after the
first, nor when the last one came a while ago. So a user who comes alone after a crowd waits once, and only for a
moment.
"""

from dataclasses import dataclass

from gogrid.protocol.worker_report import DeviceKind


@dataclass(frozen=True, slots=True)
class Patience:
    """Less than it costs to compute the first prompt by itself."""

    longest_s: float
    silence_s: float
    """Without another request."""


NONE = Patience(0.0, 0.0)
_CPU = Patience(longest_s=0.03, silence_s=0.008)
_GPU = Patience(longest_s=0.006, silence_s=0.002)


def patience_of(engine: str, device: DeviceKind) -> Patience:
    if engine == "echo":
        return NONE
    return _CPU if device is DeviceKind.CPU else _GPU


class Company:
    """`now` is in monotonic seconds; counts are of requests that the engine holds."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._most = 1
        """Served at once since the engine was idle last."""
        self._expected = 1
        self._since: float | None = None
        """When the first came, while others are waited for."""
        self._last = 0.0

    def came(self, now: float, *, first: bool) -> None:
        """The engine has taken a request; `first`: it was idle before."""
        if first:
            self._expected, self._most = self._most, 1
            self._since = now
        self._last = now

    def pause(self, held: int, now: float) -> float:
        """Seconds to wait for another request before the next pass; 0: go."""
        left = 0.0
        if self._since is not None and held < self._expected:
            left = min(self._since + self._patience.longest_s, self._last + self._patience.silence_s) - now
        if left > 0:
            return left
        self._since = None
        self._most = max(self._most, held)
        return 0.0

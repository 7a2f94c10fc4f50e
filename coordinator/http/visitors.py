"""What people and machines without a key may cost: update checks, pages and downloads, counted by address.

A core: the caller says what time it is. Memory is bounded: of the addresses that were seen longest ago nothing is kept,
and a new address starts with a full allowance, so at worst somebody with many addresses gets what many visitors get.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from coordinator.http.errors import HttpRefusal

_RETRY_S = 10


@dataclass(frozen=True, slots=True)
class VisitorLimits:
    """A thousand machines behind one address may all ask at once after a power cut."""

    burst: int = 2000
    """Requests of one address at once."""
    per_second: float = 50.0
    """Requests of one address in the long run."""
    downloads: int = 256
    """At a time, of all addresses."""
    downloads_each: int = 64
    """Of one address."""
    addresses: int = 4096
    """Remembered."""


class Visitors:
    """See the module's contract."""

    def __init__(self, limits: VisitorLimits) -> None:  # frozen
        self._limits = limits
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._downloads: dict[str, int] = {}

    def admit(self, address: str, now: float) -> None:
        """Count a request. `now`: seconds of any clock that does not jump. Raises `HttpRefusal` 429."""
        left, then = self._left.pop(address, (float(self._limits.burst), now))
        left = min(self._limits.burst, left + (now - then) * self._limits.per_second) - 1
        self._left[address] = (max(left, 0.0), now)
        if len(self._left) > self._limits.addresses:
            self._left.popitem(last=False)
        if left < 0:
            raise _too_many("Too many requests come from your address; try again soon.")

    @contextmanager
    def downloading(self, address: str) -> Iterator[None]:
        """Count a download for as long as it lasts. Raises `HttpRefusal` 429."""
        own = self._downloads.get(address, 0)
        if own >= self._limits.downloads_each or sum(self._downloads.values()) >= self._limits.downloads:
            raise _too_many("Too many downloads are under way; try again soon.")
        self._downloads[address] = own + 1
        try:
            yield
        finally:
            left = self._downloads[address] - 1
            if left:
                self._downloads[address] = left
            else:
                del self._downloads[address]


def _too_many(message: str) -> HttpRefusal:
    return HttpRefusal(429, message, "too_many_requests", headers=((b"retry-after", b"%d" % _RETRY_S),))

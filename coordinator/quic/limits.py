"""What strangers may cost the coordinator, before anything they say is believed.

Every count is kept per network (an IPv4 address, or the /64 of an IPv6 one) and in total; all memory here is bounded.
"""

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass

from gogrid.protocol.credit import TokenBucket

_NETWORKS_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """Of connections that are not yet authenticated."""

    initial_rate: float = 10.0
    """First packets per second and network."""
    initial_burst: float = 30.0
    strangers_per_network: int = 8
    strangers: int = 256


class Gate:
    """Decides whose first packets are looked at."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._strangers: Counter[str] = Counter()
        self._total = 0

    def may_knock(self, network: str, now: float) -> bool:
        """One more first packet from there may be looked at."""
        bucket = self._buckets.pop(network, None)
        if bucket is None:
            bucket = TokenBucket(self._limits.initial_rate, self._limits.initial_burst, now)
            if len(self._buckets) >= _NETWORKS_REMEMBERED:
                self._buckets.popitem(last=False)
        self._buckets[network] = bucket
        return bucket.take(now)

    def enter(self, network: str) -> bool:
        """A connection begins; False if there are too many strangers already."""
        if self._total >= self._limits.strangers or self._strangers[network] >= self._limits.strangers_per_network:
            return False
        self._strangers[network] += 1
        self._total += 1
        return True

    def leave(self, network: str) -> None:
        """A stranger was let in, or is gone."""
        self._total -= 1
        self._strangers[network] -= 1
        if not self._strangers[network]:
            del self._strangers[network]


def network_of(host: str) -> str:
    """The network that an address is counted under."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, 64), strict=False))
        return str(address.ipv4_mapped)
    return host

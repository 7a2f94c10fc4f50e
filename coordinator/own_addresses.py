"""Under which addresses this machine is likely reached, for join tokens when the admin names none."""

import socket

from coordinator.config import CoordinatorConfig
from gogrid.addresses import Address
from gogrid.jointoken import MAX_ADDRESSES

_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not listened on
_PROBES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Documentation addresses: connecting a datagram socket only asks the routing table, nothing is sent."""


def reachable_addresses(config: CoordinatorConfig, port: int | None = None) -> tuple[Address, ...]:
    """One to three addresses; `port` is the real one when the configured one is 0."""
    if config.public:
        return config.public[:MAX_ADDRESSES]
    port = port or config.port or 8443
    if config.host not in _ANY:
        return (Address(config.host, port),)
    found = [Address(host, port) for host in dict.fromkeys(_outward_hosts())]
    return tuple(found[:MAX_ADDRESSES]) or (Address("127.0.0.1", port),)


def _outward_hosts() -> list[str]:
    hosts = []
    for family, target in _PROBES:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                hosts.append(str(probe.getsockname()[0]))
        except OSError:
            continue  # no route of this family
    return hosts

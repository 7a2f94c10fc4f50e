"""Under which addresses this machine is likely reached, for join tokens when the admin names none."""

import socket
from collections.abc import Sequence
from dataclasses import replace

from coordinator.config import CoordinatorConfig
from coordinator.state.folder import Serving
from gogrid.addresses import DEFAULT_PORT, Address
from gogrid.jointoken import MAX_ADDRESSES

_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not listened on
_PROBES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Documentation addresses: connecting a datagram socket only asks the routing table, nothing is sent."""


def reachable_addresses(
    config: CoordinatorConfig, port: int | None = None, host: str | None = None
) -> tuple[Address, ...]:
    """One to three addresses, all with a port; `port` and `host` are those that a running coordinator listens on."""
    host = host or config.host
    port = port or config.port or DEFAULT_PORT
    if config.public:
        return tuple(Address(address.host, address.port or port) for address in config.public[:MAX_ADDRESSES])
    if host not in _ANY:
        return (Address(host, port),)
    found = [Address(host, port) for host in dict.fromkeys(_outward_hosts())]
    return tuple(found[:MAX_ADDRESSES]) or (Address("127.0.0.1", port),)


def token_addresses(config: CoordinatorConfig, serving: Serving | None) -> tuple[Address, ...]:
    """What join tokens name now: what the coordinator that runs was told goes before the file, which does not know it.

    Args:
        config: of the command that makes the token; what its own environment says goes before all.
    """
    if serving is None:
        return reachable_addresses(config)
    if serving.public and not config.public_given:
        config = replace(config, public=serving.public)
    return reachable_addresses(config, serving.port, serving.host)


def elsewhere(addresses: Sequence[Address], port: int) -> str:
    """What to know of addresses that do not lead to the `port` it listens on, in one sentence; empty: all do."""
    others = ", ".join(str(address) for address in addresses if address.port != port)
    if not others:
        return ""
    return (
        f"{others} leads here only if something forwards it to port {port}, on which this coordinator listens; if "
        "nothing does, correct public in coordinator.toml or `serve --public`, or name the address with "
        "`token create --address HOST`"
    )


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

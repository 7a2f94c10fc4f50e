"""Where a coordinator is reached: host and port, as people write them."""

import ipaddress
import re
from dataclasses import dataclass

from gogrid.errors import ConfigError

DEFAULT_PORT = 8443
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    """A name, or an IP address without brackets."""
    port: int
    """0: none was named, and whoever uses the address knows which."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """Read `host`, `host:port`, `[v6]` or `[v6]:port`; one without a port gets `default_port`, which may be 0.

    Raises:
        ConfigError: it is none of these.
    """
    host, port = text.strip(), ""
    named = False
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ConfigError(f"The address {text!r} lacks its closing bracket; write it like [2001:db8::7]:8443.")
        named, port = bool(rest), rest[1:]
        if not _is_ip(host):
            raise ConfigError(f"The address {text!r} has no IPv6 address in its brackets.")
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
        named = True
    if not _is_ip(host) and (len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split("."))):
        raise ConfigError(f"The address {text!r} has no host name or IP address; write it like grid.example.org:8443.")
    if not named:
        return Address(host, default_port)
    if not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        raise ConfigError(f"The address {text!r} has no port from 1 to 65535.")
    return Address(host, int(port))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

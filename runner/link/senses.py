"""What `surroundings.py` decides on, as this machine tells it. Both cost microseconds and send nothing."""

import socket
import time
from typing import Any

_ANY_PORT = 9
_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""Linux has the first; the second goes on during sleep on macOS, as does `time.monotonic` on Windows."""


def clock_through_sleep() -> float:
    """Seconds on a clock that goes on while the machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def source_address(peer: Any) -> str | None:
    """The local address from which `peer`, a socket address, would be reached; empty: there is no way to it now."""
    if peer is None:
        return None
    family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((peer[0], _ANY_PORT))
            address: str = probe.getsockname()[0]
            return address
    except OSError:
        return ""

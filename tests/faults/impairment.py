"""What a bad network does to datagrams, decided by a seed: the proxy's core, without sockets and clocks.

`Lane.pass_on(data, now)` says when which bytes arrive. Each datagram draws the same numbers whatever the conditions
are, so that the n-th datagram of a lane meets the same luck in every run with that seed, and changing one condition
does not change another's. Loss happens before everything else; a duplicate takes its own delay.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

_LONG_HEADER = 0x80
"""QUIC: the first bit of handshake packets."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Of one direction; shares are probabilities from 0 to 1, times are seconds."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Up to this much is added to the delay, evenly."""
    loss: float = 0.0
    handshake_loss: float = 0.0
    """In place of `loss`, for QUIC's handshake packets."""
    burst: float = 0.0
    """That a datagram begins a burst of losses."""
    burst_length: int = 0
    """Datagrams of one burst."""
    duplicate: float = 0.0
    reorder: float = 0.0
    """That a datagram is overtaken by those sent within `reorder_s` behind it."""
    reorder_s: float = 0.02
    corrupt: float = 0.0
    """That one bit is flipped."""
    blackhole: bool = False


CLEAR = Conditions()
BLACKHOLE = Conditions(blackhole=True)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a schedule."""

    seconds: float
    up: Conditions = CLEAR
    """From worker to coordinator."""
    down: Conditions = CLEAR


@dataclass(frozen=True, slots=True)
class Schedule:
    """Phases one after the other; then again from the start, or the last one for ever."""

    phases: Sequence[Phase]
    again: bool = False

    def at(self, elapsed_s: float) -> Phase:
        if self.again:
            elapsed_s %= sum(phase.seconds for phase in self.phases)
        for phase in self.phases:
            if elapsed_s < phase.seconds:
                return phase
            elapsed_s -= phase.seconds
        return self.phases[-1]


@dataclass(slots=True)
class Tally:
    """What one lane has done."""

    given: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0


@dataclass(slots=True)
class Lane:
    """One direction. Not safe for several threads."""

    seed: int
    tally: Tally = field(default_factory=Tally)
    _burst_left: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    _random: random.Random = field(init=False, repr=False)

    def pass_on(self, data: bytes, conditions: Conditions, now: float) -> list[tuple[float, bytes]]:
        """When which bytes arrive: nothing for a lost datagram, two for a duplicated one."""
        tally = self.tally
        tally.given += 1
        lost, burst, twice, overtaken, flipped, jitter, again, where = (self._random.random() for _ in range(8))
        if self._is_lost(data, conditions, lost, burst):
            tally.lost += 1
            return []
        due = now + conditions.delay_s + conditions.jitter_s * jitter
        if flipped < conditions.corrupt and data:
            tally.corrupted += 1
            data = _flip(data, int(where * len(data) * 8))
        if overtaken < conditions.reorder:
            tally.reordered += 1
            due += conditions.reorder_s
        if twice >= conditions.duplicate:
            return [(due, data)]
        tally.duplicated += 1
        return [(due, data), (now + conditions.delay_s + conditions.jitter_s * again, data)]

    def _is_lost(self, data: bytes, conditions: Conditions, lost: float, burst: float) -> bool:
        if conditions.blackhole:
            return True
        if self._burst_left:
            self._burst_left -= 1
            return True
        if burst < conditions.burst:
            self._burst_left = conditions.burst_length - 1
            return True
        handshake = bool(data) and bool(data[0] & _LONG_HEADER)
        return lost < (conditions.handshake_loss if handshake and conditions.handshake_loss else conditions.loss)


def _flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)

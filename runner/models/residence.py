"""Whose turn it is in a memory that does not hold every wanted model. Pure: sizes and times are given.

Promises: the owner's cap is never promised twice; a model is never closed while it serves; the longest unused one goes
first; a model that came into memory keeps its place for a turn that grows with the time its load took, so that models
which do not fit together change places a bounded number of times a minute and answer what has gathered in between; a
wanted model is not passed over for ever, because one whose turn is over begins nothing new. Requests wait in the order
in which their models were first asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gogrid.ids import Sha256
from gogrid.sizes import format_size


@dataclass(frozen=True, slots=True)
class Turns:
    """How long a model keeps its place, in seconds."""

    least_s: float = 5.0
    per_load: float = 3.0
    """A turn is this many times as long as the load that it paid for."""
    most_s: float = 120.0
    pause_s: float = 1.0
    """One that nobody has asked for this long (or half its load's time) gives its place up before its turn ends."""

    def turn_s(self, load_s: float) -> float:
        return min(self.most_s, max(self.least_s, self.per_load * load_s))

    def patience_s(self, load_s: float) -> float:
        return min(self.turn_s(load_s), max(self.pause_s, load_s / 2))


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that holds memory."""

    digest: Sha256
    memory_bytes: int
    users: int
    """Requests that it serves or that are about to be handed in."""
    last_used: float
    """Monotonic seconds, like all times here."""
    ready_at: float | None = None
    """When it could serve; None: it is still on its way."""
    load_s: float = 0.0
    giving_way: bool = False
    """An earlier plan chose it to make room; the choice stays."""
    closing: bool = False
    """It ends; its memory comes free soon."""

    @property
    def idle(self) -> bool:
        """It could serve, and nobody wants it to."""
        return self.ready_at is not None and self.users == 0


@dataclass(frozen=True, slots=True)
class Claim:
    """A model that is wanted and not in memory."""

    digest: Sha256
    memory_bytes: int
    since: float


@dataclass(frozen=True, slots=True)
class Plan:
    start: tuple[Sha256, ...] = ()
    """Load these now: they fit."""
    close: tuple[Sha256, ...] = ()
    giving_way: frozenset[Sha256] = frozenset()
    """These begin nothing new and are closed once nobody uses them."""
    refused: dict[Sha256, str] = field(default_factory=dict)
    """These do not fit, whatever is closed; why, in words."""
    look_again: float | None = None
    """When a turn ends that somebody waits for."""


def plan(residents: Sequence[Resident], claims: Iterable[Claim], cap: int, held: int, now: float, turns: Turns) -> Plan:
    """What to start, close and hold back now. Ask again when anything has changed, and at `look_again`.

    Args:
        cap: bytes that models and scripts on this device may use together.
        held: bytes that scripts hold of it.
    """
    free = cap - held - sum(resident.memory_bytes for resident in residents)
    start: list[Sha256] = []
    refused: dict[Sha256, str] = {}
    for claim in sorted(claims, key=lambda claim: claim.since):
        if claim.memory_bytes > cap - held:
            refused[claim.digest] = _too_large(claim.memory_bytes, cap, held)
        elif claim.memory_bytes <= free:
            start.append(claim.digest)
            free -= claim.memory_bytes
        else:  # whoever comes later waits, too: else small models would pass a large one for ever
            close, giving_way, look_again = _make_way(residents, claim.memory_bytes - free, now, turns)
            return Plan(tuple(start), close, giving_way, refused, look_again)
    return Plan(tuple(start), refused=refused)


def unused(residents: Iterable[Resident], now: float, idle_s: float) -> tuple[Sha256, ...]:
    """The models that nobody wanted for `idle_s` seconds."""
    return tuple(
        resident.digest
        for resident in residents
        if not resident.closing and resident.users == 0 and now - resident.last_used >= idle_s
    )


def crowded_out(residents: Sequence[Resident], cap: int, held: int) -> tuple[Sha256, ...]:
    """The models that have to go at once because the owner lends less than they hold together.

    Those at leisure go first, the longest unused before others; then those that serve the fewest. Nobody goes for
    memory that comes free anyway.
    """
    excess = held + sum(resident.memory_bytes for resident in residents if not resident.closing) - cap
    gone: list[Sha256] = []
    for resident in sorted(residents, key=lambda one: (one.users, one.last_used)):
        if excess > 0 and not resident.closing:
            gone.append(resident.digest)
            excess -= resident.memory_bytes
    return tuple(gone)


def turn_ends(resident: Resident, turns: Turns) -> float:
    """When another model may have this one's place, as far as is known now; for one that is ready."""
    ready = resident.ready_at if resident.ready_at is not None else 0.0
    end = ready + turns.turn_s(resident.load_s)
    if resident.users == 0:
        end = min(end, max(ready, resident.last_used) + turns.patience_s(resident.load_s))
    return end


def in_turn(resident: Resident, now: float, turns: Turns) -> bool:
    """Whether it is ready and its turn is not over: somebody waited for its load, and may be about to ask."""
    return resident.ready_at is not None and not resident.closing and turn_ends(resident, turns) > now


def is_kept(resident: Resident, now: float, turns: Turns) -> bool:
    """Whether a script may not have this one's memory: it is on its way or at work, or in its turn."""
    return not resident.idle or in_turn(resident, now, turns)


def _make_way(
    residents: Sequence[Resident], short: int, now: float, turns: Turns
) -> tuple[tuple[Sha256, ...], frozenset[Sha256], float | None]:
    """Which models give up `short` bytes: those at leisure first, then those whose turn ends first."""
    short -= sum(resident.memory_bytes for resident in residents if resident.closing)
    ready = [resident for resident in residents if resident.ready_at is not None and not resident.closing]
    ready.sort(
        key=lambda one: (max(turn_ends(one, turns) - now, 0.0), one.users > 0, not one.giving_way, one.last_used)
    )
    victims: list[Resident] = []
    for resident in ready:
        if short <= 0:
            break
        victims.append(resident)
        short -= resident.memory_bytes
    if short > 0:  # the rest is on its way into memory, and its turn has not even begun
        return (), frozenset(), None
    ends = max((turn_ends(victim, turns) for victim in victims), default=now)
    if ends > now:
        return (), frozenset(), ends
    close = tuple(victim.digest for victim in victims if victim.users == 0)
    return close, frozenset(victim.digest for victim in victims), None


def _too_large(need: int, cap: int, held: int) -> str:
    if need > cap:
        return f"The model needs {format_size(need)} and this worker lends {format_size(cap)}."
    free = format_size(max(0, cap - held))
    return f"The model needs {format_size(need)} and {free} is free while scripts are running."

"""Which copy of the program runs. Pure: what is remembered, which versions are there, and what happened are given.

Promises: a version that was switched to is on trial until it has reached its coordinator (`proved`); one that crashes
is tried once more, and one that crashes again is never tried again on this machine; one that does not reach its
coordinator in time makes room for the old one at once. A start that nobody saw the end of counts as failed. Never is
anything gone back to that lies below the security floor, was revoked or has failed, unless there is nothing else; the
copy that an installer put there never makes room for an older one.
"""

from dataclasses import dataclass
from enum import StrEnum

from updates.trust.trusted_state import TrustedState, left, start_begun, start_failed, start_undone

PROBATION_S = 120.0
"""So long a new version may take to reach its coordinator."""


class Ended(StrEnum):
    """How a start on trial ended."""

    CRASHED = "crashed"
    TOO_LATE = "too_late"
    ASKED = "asked"
    """To end, or to start another version; that says nothing about it."""


@dataclass(frozen=True, slots=True)
class Plan:
    seq: int
    """What is to start; the installer's own copy if that is its number."""
    watched: bool
    """It is on trial."""
    state: TrustedState
    """To be stored before it starts."""
    given_up: int = 0
    """A release that this plan turns away from; 0: none."""


def chosen(state: TrustedState, own: int, present: frozenset[int]) -> int:
    """What runs now."""
    return state.installed if _fits(state, state.installed, own, present) else own


def speaks(state: TrustedState, own: int, present: frozenset[int]) -> int:
    """The copy for a command that only speaks with the running worker: none that is on trial, which may only crash."""
    seq = state.last_good if on_trial(state) else state.installed
    return seq if _fits(state, seq, own, present) else own


def plan(state: TrustedState, own: int, present: frozenset[int]) -> Plan:
    """What is to start.

    Args:
        own: the installer's copy.
        present: versions that lie ready.
    """
    if state.starting:
        state = start_failed(state)
    return _go_on(state, own, present)


def after(ended: Ended, state: TrustedState, own: int, present: frozenset[int]) -> Plan:
    """What is to start when a start on trial has ended so."""
    if ended is Ended.ASKED:
        return _go_on(start_undone(state), own, present)
    state = start_failed(state)
    return _go_on(state, own, present) if ended is Ended.CRASHED else _back(state, own, present)


def on_trial(state: TrustedState) -> bool:
    return state.installed != state.last_good


def tried(state: TrustedState) -> bool:
    """It has been started, and nobody knows yet what comes of it."""
    return on_trial(state) and state.starting


def _go_on(state: TrustedState, own: int, present: frozenset[int]) -> Plan:
    if _fits(state, state.installed, own, present):
        return _start(state)
    return _back(state, own, present)


def _start(state: TrustedState) -> Plan:
    watched = on_trial(state)
    return Plan(state.installed, watched, start_begun(state) if watched else state)


def _back(state: TrustedState, own: int, present: frozenset[int]) -> Plan:
    """To what was good, else to the installer's copy; where neither may run, once more to what is installed."""
    turned_from = state.installed if state.installed in present and state.installed > own else 0
    for seq in (state.last_good, state.before_good, own):
        there = seq == own or (seq > own and seq in present)
        allowed = seq >= state.security_floor and seq not in state.revoked and seq not in state.failed
        if there and allowed and seq != turned_from:
            return Plan(seq, False, left(state, seq), turned_from)
    if turned_from:
        return _start(state)
    return Plan(own, False, left(state, own))


def _fits(state: TrustedState, seq: int, own: int, present: frozenset[int]) -> bool:
    return seq > own and seq in present and seq not in state.failed

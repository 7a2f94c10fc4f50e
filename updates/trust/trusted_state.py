"""What a machine remembers of updates, and how that may change: one value, replaced by pure functions.

The numbers only rise, with one exception: keys of a new epoch that replace those of a role start that role's numbers
anew (a thief of a timestamp key could have used up all numbers). The file survives a reinstall. Whoever stores it
flushes it before acting on what it says.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from updates.errors import StateFileError, TrustError
from updates.trust.documents import SCHEMA, Keys, Known, Name, Release, SequenceList, Timestamp, check_keys

LARGEST_STATE = 256 << 10
FAILED_STARTS = 2
"""A release that failed so often is never tried again."""
_FAILED_KEPT = 64
_Digest = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]


class TrustedState(msgspec.Struct, frozen=True, kw_only=True):
    """Of one app and channel. 0 and empty: never seen."""

    schema: int = SCHEMA
    app: Name
    channel: Name
    keys: Keys | None = None
    """The newest that enough root keys signed."""
    keys_sha256: _Digest = ""
    ts_seq: Known = 0
    ts_sha256: _Digest = ""
    ts_expires: float = 0.0
    """Seconds since 1970; like the next one."""
    max_issued_at: float = 0.0
    """The clock never counts as earlier."""
    release_seq: Known = 0
    release_sha256: _Digest = ""
    installed: Known = 0
    last_good: Known = 0
    """The newest that was installed and proved itself."""
    before_good: Known = 0
    """The one that was good before `last_good`: what its owner may go back to."""
    failed: SequenceList = ()
    trial: Known = 0
    """The one that was switched to last; it may have been left again."""
    starting: bool = False
    """A start of what is on trial has begun and nobody knows yet how it went."""
    failed_starts: Annotated[int, Meta(ge=0, le=FAILED_STARTS)] = 0
    """Of `trial`, one after the other."""
    security_floor: Known = 0
    revoked: SequenceList = ()

    @property
    def key_epoch(self) -> int:
        return self.keys.key_epoch if self.keys is not None else 0


def encode_state(state: TrustedState) -> bytes:
    return msgspec.json.encode(state)


def decode_state(data: bytes) -> TrustedState:
    """Raises `StateFileError`: starting anew would forget what may not be gone back to, so a person decides."""
    try:
        if len(data) > LARGEST_STATE:
            raise StateFileError("The file of what is known about updates is too large; remove it to start anew.")
        state = msgspec.json.decode(data, type=TrustedState)
        if state.keys is not None:
            check_keys(state.keys)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TrustError) as error:
        raise StateFileError(
            f"The file of what is known about updates is damaged ({error}); remove it to start anew."
        ) from None
    if state.schema != SCHEMA:
        raise StateFileError("The file of what is known about updates was written by another version of this program.")
    return state


def trusted_now(state: TrustedState, now: float) -> float:
    """The later of the clock and what was signed: a clock that was set back does not make old documents young."""
    return max(now, state.max_issued_at)


def with_keys(state: TrustedState, keys: Keys, sha256: str) -> TrustedState:
    """After keys of the next epoch; a role whose keys were replaced starts its numbers anew."""
    before = state.keys
    state = msgspec.structs.replace(state, keys=keys, keys_sha256=sha256)
    if before is None:
        return state
    new_timestamp = set(before.timestamp_keys) != set(keys.timestamp_keys)
    new_release = set(before.release_keys) != set(keys.release_keys)
    if new_timestamp or new_release:
        state = msgspec.structs.replace(state, ts_seq=0, ts_sha256="", max_issued_at=0.0)
    if new_release:
        # What is installed stays the floor: the reset must not open a way back.
        state = msgspec.structs.replace(
            state, release_seq=state.installed, release_sha256="", security_floor=0, revoked=()
        )
    return state


def with_timestamp(state: TrustedState, timestamp: Timestamp, sha256: str) -> TrustedState:
    issued, expires = timestamp.issued_at.timestamp(), timestamp.expires.timestamp()
    return msgspec.structs.replace(
        state,
        ts_seq=timestamp.ts_seq,
        ts_sha256=sha256,
        ts_expires=expires,
        max_issued_at=max(state.max_issued_at, issued),
    )


def with_release(state: TrustedState, release: Release, sha256: str) -> TrustedState:
    return msgspec.structs.replace(
        state,
        release_seq=release.release_seq,
        release_sha256=sha256,
        max_issued_at=max(state.max_issued_at, release.issued_at.timestamp()),
        security_floor=max(state.security_floor, release.security_floor),
        revoked=release.revoked,
    )


def switched(state: TrustedState, seq: int) -> TrustedState:
    """Another release becomes the one that starts. `last_good` stays until `proved`."""
    starts = state.failed_starts if seq == state.trial else 0
    return msgspec.structs.replace(state, installed=seq, trial=seq, failed_starts=starts, starting=False)


def left(state: TrustedState, seq: int) -> TrustedState:
    """Back to a release that was good; what was on trial keeps its count of failed starts."""
    return msgspec.structs.replace(state, installed=seq, starting=False)


def start_begun(state: TrustedState) -> TrustedState:
    """Stored before what is on trial starts: one that takes the machine down with it is found out at the next start."""
    return msgspec.structs.replace(state, starting=True)


def start_undone(state: TrustedState) -> TrustedState:
    """It was asked to end before anybody could tell; that says nothing about it."""
    return msgspec.structs.replace(state, starting=False)


def proved(state: TrustedState) -> TrustedState:
    """What is installed has reached its coordinator."""
    before = state.before_good if state.last_good in (0, state.installed) else state.last_good
    starts = 0 if state.trial == state.installed else state.failed_starts
    return msgspec.structs.replace(
        state, last_good=state.installed, before_good=before, failed_starts=starts, starting=False
    )


def start_failed(state: TrustedState) -> TrustedState:
    """What is installed did not start, or not prove itself; after `FAILED_STARTS` times it is never tried again."""
    if state.failed_starts + 1 < FAILED_STARTS:
        return msgspec.structs.replace(state, failed_starts=state.failed_starts + 1, starting=False)
    return given_up(state, state.installed)


def given_up(state: TrustedState, seq: int) -> TrustedState:
    """A release is never tried again on this machine."""
    failed = state.failed if seq in state.failed else (*state.failed, seq)[-_FAILED_KEPT:]
    return msgspec.structs.replace(state, failed=failed, failed_starts=0, starting=False)


def way_back(state: TrustedState) -> int | None:
    """The release that may be gone back to; None: there is none that is not worse."""
    return next((seq for seq in (state.last_good, state.before_good) if _may_return(state, seq)), None)


def _may_return(state: TrustedState, seq: int) -> bool:
    worse = seq < state.security_floor or seq in state.revoked or seq in state.failed
    return seq not in (0, state.installed) and not worse

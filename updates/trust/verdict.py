"""What to do about what a coordinator offers: `evaluate` for an answer, `quiet` for none, `verify_artifact` for a file.

Rules, in the order in which they are applied:
1. `keys.json` counts when `threshold` different root keys signed it, one epoch after the other, none left out.
2. `timestamp.json` is signed by a timestamp key of the newest epoch, is for this app and channel, and is not older than
   one that was seen.
3. `release.json` is signed by a release key of the newest epoch, is the very one the timestamp names, is for this app
   and channel, and is not older than one that was seen. A lower number, or a known number with other bytes, is an
   alarm.
4. Nothing that has expired is installed. The clock never counts as earlier than what was signed.
5. Then: is it newer than what runs, did it fail here before, does it fit this system, is it this machine's turn?
Everything that was learned before a rule failed is kept, so that nothing can be shown twice in another order.
"""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from updates.errors import Alarm, StateFileError, TrustError
from updates.trust.anchors import Anchors
from updates.trust.artifact import check_file, file_signature
from updates.trust.chain import SignedDocument, SignedKeys, open_release, open_timestamp, walk_keys
from updates.trust.documents import Artifact, Release, Rollout, Timestamp
from updates.trust.signatures import Readable
from updates.trust.trusted_state import TrustedState, trusted_now, with_release, with_timestamp

FROZEN_S = 14 * 86400.0
"""So long after the last good word has expired somebody is told."""


@dataclass(frozen=True, slots=True)
class Documents:
    """What a coordinator offers, as it came."""

    keys: tuple[SignedKeys, ...]
    """Those of later epochs than are known, in order."""
    timestamp: SignedDocument
    release: SignedDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallFacts:
    """What runs here."""

    anchors: Anchors
    app: str
    channel: str
    target: str
    version: str
    seq: int
    """The `release_seq` this copy was built as; 0: it is none, but built from source, or `bare`."""
    bare: bool = False
    """Nothing of this app is here yet: any release may come first, and does not wait for this machine's turn."""
    install_id: str
    """Random, made once, never sent: decides this machine's turn."""
    built_at: float = 0.0
    """When this copy was built, seconds since 1970; 0: nobody knows."""
    os_version: tuple[int, ...] = ()
    """To compare with `os_min`; empty: unknown, then any will do."""
    python_abi: str = ""
    pinned: str | None = None
    """The only version that may be installed."""
    size_limit: int = 1 << 30
    """Bytes of a download."""


class WaitReason(StrEnum):
    """Why nothing is done now."""

    EXPIRED = "expired"
    FROZEN = "frozen"
    ROLLOUT = "rollout"
    PINNED = "pinned"
    FAILED_BEFORE = "failed_before"
    NO_BUILD = "no_build"
    STEP_MISSING = "step_missing"
    OS_TOO_OLD = "os_too_old"
    WRONG_PYTHON = "wrong_python"
    NOT_A_RELEASE = "not_a_release"


@dataclass(frozen=True, slots=True)
class Current:
    """Nothing newer is there."""


@dataclass(frozen=True, slots=True)
class Wait:
    reason: WaitReason
    sentence: str
    warn: bool = False
    """Whether a person should be told."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """What was offered is not believed; what runs goes on."""

    alarm: Alarm
    sentence: str


@dataclass(frozen=True, slots=True)
class Install:
    """Download, `verify_artifact`, install."""

    seq: int
    target: str
    artifact: Artifact
    release: Release = field(repr=False)
    urgent: bool
    """What runs is revoked or below the security floor: this does not wait for its turn."""


Verdict = Current | Wait | Refuse | Install


@dataclass(frozen=True, slots=True)
class Evaluation:
    verdict: Verdict
    state: TrustedState
    """To be stored, whatever the verdict."""


def evaluate(documents: Documents, state: TrustedState, install: InstallFacts, now: float) -> Evaluation:
    """Judge what is offered. `now`: the wall clock, seconds since 1970.

    Raises:
        StateFileError: `state` is of another app or channel.
    """
    if (state.app, state.channel) != (install.app, install.channel):
        raise StateFileError(
            f"What is remembered is of {state.app} {state.channel}, not {install.app} {install.channel}."
        )
    progress = _Progress(state, install, now)
    try:
        verdict = progress.judge(documents)
    except TrustError as error:
        verdict = Refuse(error.alarm, str(error))
    return Evaluation(verdict, progress.state)


def quiet(state: TrustedState, now: float, built_at: float = 0.0) -> Verdict:
    """What it means that a coordinator has nothing to say, or cannot be reached.

    Args:
        built_at: counts where no timestamp was ever seen; seconds since 1970, 0: nobody knows.
    """
    since = state.ts_expires or built_at
    if since and trusted_now(state, now) > since + FROZEN_S:
        return _frozen(trusted_now(state, now) - since)
    return Current()


def verify_artifact(source: Readable, offer: Install, state: TrustedState) -> None:
    """Whether a downloaded file is the one that was offered; reads it once, in small pieces, never past its size.

    Args:
        state: the newest; a release or key that was revoked since the offer is refused here.

    Raises:
        TrustError: it is not to be installed.
    """
    if offer.seq in state.revoked or offer.seq < state.security_floor:
        raise TrustError(Alarm.ROLLBACK, f"Release {offer.seq} was withdrawn meanwhile.")
    if state.keys is None:
        raise TrustError(Alarm.KEYS_WITHHELD, "No keys are known.")
    check_file(source, offer.release, offer.target, offer.artifact, state.keys)


def bucket(rollout: Rollout, install_id: str) -> int:
    """0 to 99; the machines below the rollout's percent have their turn."""
    digest = hashlib.sha256(rollout.salt.encode() + install_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100


class _Progress:
    """One evaluation; `state` is what has been learned so far."""

    def __init__(self, state: TrustedState, install: InstallFacts, now: float) -> None:
        self.state = state
        self._install = install
        self._now = now

    def judge(self, documents: Documents) -> Verdict:
        install = self._install
        self.state = walk_keys(documents.keys, install.anchors, self.state)
        keys = self.state.keys
        if keys is None:
            raise TrustError(Alarm.KEYS_WITHHELD, "The coordinator offers a release, but not the keys that signed it.")
        if self._over(keys.expires.timestamp()):
            return self._expired("The publisher's keys have", keys.expires.timestamp())
        timestamp, ts_sha256 = open_timestamp(documents.timestamp, keys)
        self._meant(timestamp.app, timestamp.channel)
        self._not_older("timestamp", timestamp.ts_seq, ts_sha256, self.state.ts_seq, self.state.ts_sha256)
        if timestamp.release_seq < self.state.release_seq:
            text = f"It names release {timestamp.release_seq}, but {self.state.release_seq} was seen before."
            raise TrustError(Alarm.ROLLBACK, text)
        self.state = with_timestamp(self.state, timestamp, ts_sha256)
        if self._over(timestamp.expires.timestamp()):
            return self._expired("The newest word about updates has", timestamp.expires.timestamp())
        release, sha256 = open_release(documents.release, timestamp, keys)
        self._meant(release.app, release.channel)
        self._not_older("release", release.release_seq, sha256, self.state.release_seq, self.state.release_sha256)
        self.state = with_release(self.state, release, sha256)
        if self._over(release.expires.timestamp()):
            return self._expired(f"Release {release.release_seq} has", release.expires.timestamp())
        return self._decide(release, timestamp)

    def _over(self, expires: float) -> bool:
        return trusted_now(self.state, self._now) >= expires

    def _expired(self, what: str, expires: float) -> Wait:
        late = trusted_now(self.state, self._now) - expires
        if late > FROZEN_S:
            return _frozen(late)
        return Wait(WaitReason.EXPIRED, f"{what} expired; nothing is installed until there is a newer one.")

    def _meant(self, app: str, channel: str) -> None:
        if app != self._install.app:
            raise TrustError(Alarm.WRONG_APP, f"It is for {app}, not for {self._install.app}.")
        if channel != self._install.channel:
            raise TrustError(Alarm.WRONG_CHANNEL, f"It is of the channel {channel}, not {self._install.channel}.")

    def _not_older(self, what: str, seq: int, sha256: str, seen: int, seen_sha256: str) -> None:
        if seq < seen:
            raise TrustError(Alarm.ROLLBACK, f"It is {what} {seq}, but {seen} was seen before.")
        if seq == seen and seen_sha256 and sha256 != seen_sha256:
            raise TrustError(Alarm.CHANGED, f"It is another {what} {seq} than the one that was seen before.")

    def _decide(self, release: Release, timestamp: Timestamp) -> Verdict:
        install, seq = self._install, release.release_seq
        from_source = install.seq == 0 and not install.bare
        if seq <= install.seq or (from_source and release.version == install.version):
            return Current()
        artifact = release.platforms.get(install.target)
        if artifact is None:
            return Wait(WaitReason.NO_BUILD, f"Version {release.version} has no build for {install.target}.")
        file_signature(release, install.target, artifact)
        if artifact.size > install.size_limit:
            raise TrustError(
                Alarm.TOO_LARGE, f"The download has {artifact.size} bytes, {install.size_limit} are allowed."
            )
        unfit = self._unfit(release, artifact)
        if unfit is not None:
            return unfit
        urgent = install.seq < self.state.security_floor or install.seq in release.revoked
        percent = release.rollout.percent if timestamp.rollout_percent is None else timestamp.rollout_percent
        if not (urgent or install.bare) and bucket(release.rollout, install.install_id) >= percent:
            return Wait(
                WaitReason.ROLLOUT, f"Version {release.version} is being rolled out; it is not this machine's turn."
            )
        return Install(seq, install.target, artifact, release, urgent)

    def _unfit(self, release: Release, artifact: Artifact) -> Wait | None:
        install, version = self._install, release.version
        if install.seq == 0 and not install.bare:
            text = f"Version {version} is there, but this copy was built from source and is not updated by itself."
            return Wait(WaitReason.NOT_A_RELEASE, text)
        if release.release_seq in self.state.failed:
            return Wait(WaitReason.FAILED_BEFORE, f"Version {version} did not work on this machine before.")
        if install.pinned is not None and version != install.pinned:
            return Wait(WaitReason.PINNED, f"Version {version} is there; this machine is pinned to {install.pinned}.")
        if install.seq < release.min_from_seq and not install.bare:
            text = f"Version {version} cannot follow on version {install.version}; install it by hand."
            return Wait(WaitReason.STEP_MISSING, text, warn=True)
        os_min = tuple(map(int, artifact.os_min.split("."))) if artifact.os_min else ()
        if install.os_version and install.os_version < os_min:
            return Wait(WaitReason.OS_TOO_OLD, f"Version {version} needs a system of {artifact.os_min} or later.")
        if artifact.python_abi and install.python_abi and artifact.python_abi != install.python_abi:
            text = f"Version {version} is for {artifact.python_abi}, this machine has {install.python_abi}."
            return Wait(WaitReason.WRONG_PYTHON, text)
        return None


def _frozen(late: float) -> Wait:
    days = int(late // 86400)
    text = f"No word about updates that still counts for {days} days: the admin should publish one, or is kept from it."
    return Wait(WaitReason.FROZEN, text, warn=True)

"""What is published together: all keys, one release, its timestamps. Checked as a machine would that knows nothing yet.

Every timestamp must name this release; of several for one percent the newest counts, expired ones do not.
"""

from dataclasses import dataclass

from updates.errors import Alarm, TrustError
from updates.trust.anchors import Anchors
from updates.trust.artifact import file_signature
from updates.trust.chain import SignedDocument, SignedKeys, open_release, open_timestamp, walk_keys
from updates.trust.documents import Keys, Release, Timestamp
from updates.trust.trusted_state import TrustedState


@dataclass(frozen=True, slots=True)
class Publication:
    """Documents as they lie in a folder; proves nothing before `check_publication`."""

    keys: tuple[SignedKeys, ...]
    """From the first epoch of the root keys to the newest."""
    release: SignedDocument
    timestamps: tuple[SignedDocument, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One of the timestamps: how far the release is rolled out under it."""

    percent: int
    timestamp: Timestamp
    signed: SignedDocument


@dataclass(frozen=True, slots=True)
class Checked:
    """A publication that is right; its files are still to be checked."""

    publication: Publication
    keys: Keys
    """The newest."""
    release: Release
    release_sha256: str
    steps: tuple[Step, ...]
    """By rising percent, each percent once."""


def check_publication(publication: Publication, anchors: Anchors, now: float) -> Checked:
    """Raises `TrustError`: a machine would refuse it, or it cannot be rolled out."""
    state = walk_keys(publication.keys, anchors, TrustedState(app="any", channel="any"))
    keys = state.keys
    if keys is None:
        raise TrustError(Alarm.KEYS_WITHHELD, "There are no keys beside the release.")
    _counts_until(keys.expires.timestamp(), now, "The newest keys have")
    if not publication.timestamps:
        raise TrustError(Alarm.MIXED, "There is no timestamp beside the release; `gogrid-release timestamp` makes one.")
    opened = [(open_timestamp(signed, keys)[0], signed) for signed in publication.timestamps]
    opened.sort(key=lambda each: each[0].ts_seq)
    release, sha256 = open_release(publication.release, opened[-1][0], keys)
    _counts_until(release.expires.timestamp(), now, "The release has")
    for target, file in release.files():
        file_signature(release, target, file)
    steps: dict[int, Step] = {}
    for timestamp, signed in opened:
        _fits(timestamp, release, sha256)
        percent = release.rollout.percent if timestamp.rollout_percent is None else timestamp.rollout_percent
        if timestamp.expires.timestamp() > now:
            steps[percent] = Step(percent, timestamp, signed)
    if not steps:
        _counts_until(opened[-1][0].expires.timestamp(), now, "The newest timestamp has")
    chosen = tuple(steps[percent] for percent in sorted(steps))
    return Checked(publication, keys, release, sha256, chosen)


def _fits(timestamp: Timestamp, release: Release, sha256: str) -> None:
    if (timestamp.app, timestamp.channel) != (release.app, release.channel):
        raise TrustError(Alarm.WRONG_APP, f"A timestamp is for {timestamp.app} {timestamp.channel}.")
    if (timestamp.release_seq, timestamp.release_sha256) != (release.release_seq, sha256):
        text = f"The timestamp {timestamp.ts_seq} names another release; remove it, or sign it anew."
        raise TrustError(Alarm.MIXED, text)


def _counts_until(expires: float, now: float, what: str) -> None:
    if now >= expires:
        raise TrustError(Alarm.EXPIRED, f"{what} expired.")

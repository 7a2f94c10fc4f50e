"""From root keys to a release: which signature each document must carry, and what names what.

Used by machines that update themselves and by the coordinator that offers; the order of these calls is the caller's.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from updates.errors import Alarm, TrustError
from updates.trust.anchors import Anchors
from updates.trust.documents import (
    KEYS_COMMENT,
    LARGEST_KEYS,
    LARGEST_RELEASE,
    LARGEST_TIMESTAMP,
    MOST_ROOT_SIGNATURES,
    RELEASE_COMMENT,
    TIMESTAMP_COMMENT,
    Keys,
    Release,
    Timestamp,
    parse_keys,
    parse_release,
    parse_timestamp,
)
from updates.trust.signatures import PublicKey, parse_signature, verify
from updates.trust.trusted_state import TrustedState, with_keys

MOST_EPOCHS = 256
"""In one go."""


@dataclass(frozen=True, slots=True)
class SignedDocument:
    data: bytes
    signature: bytes
    """A `.minisig` file."""


@dataclass(frozen=True, slots=True)
class SignedKeys:
    data: bytes
    signatures: tuple[bytes, ...]
    """`.minisig` files of root keys."""


def walk_keys(offered: Sequence[SignedKeys], anchors: Anchors, state: TrustedState) -> TrustedState:
    """Go from the known epoch to the newest, one at a time; what is known already is passed over.

    Raises:
        TrustError: not signed by enough root keys, an epoch left out, or another document under a known epoch.
    """
    if len(offered) > MOST_EPOCHS:
        raise TrustError(Alarm.TOO_LARGE, f"More than {MOST_EPOCHS} sets of keys at once.")
    for signed in offered:
        keys, sha256 = open_keys(signed, anchors)
        known = max(state.key_epoch, anchors.first_epoch - 1)
        if keys.key_epoch == state.key_epoch and sha256 != state.keys_sha256:
            raise TrustError(Alarm.KEYS_CHANGED, f"There are two different sets of keys of epoch {keys.key_epoch}.")
        if keys.key_epoch > known + 1:
            text = f"Keys of epoch {keys.key_epoch} cannot follow on epoch {known}: those between are missing."
            raise TrustError(Alarm.EPOCH_SKIPPED, text)
        if keys.key_epoch == known + 1:
            state = with_keys(state, keys, sha256)
    return state


def open_keys(signed: SignedKeys, anchors: Anchors) -> tuple[Keys, str]:
    """Keys that enough different root keys signed, and the hash of the document. Raises `TrustError`."""
    _small(signed.data, LARGEST_KEYS, "keys.json")
    if len(signed.signatures) > MOST_ROOT_SIGNATURES:
        raise TrustError(Alarm.TOO_LARGE, f"keys.json has more than {MOST_ROOT_SIGNATURES} signatures.")
    roots = anchors.by_id()
    signers = set()
    for raw in signed.signatures:
        try:
            signers.add(_signer(signed.data, raw, KEYS_COMMENT, roots, "root key").id)
        except TrustError:
            continue  # it counts for nothing; there may be enough others
    if len(signers) < anchors.threshold:
        text = f"{len(signers)} of the root keys signed these keys, {anchors.threshold} must."
        raise TrustError(Alarm.TOO_FEW_ROOTS, text)
    return parse_keys(signed.data), _sha256(signed.data)


def open_timestamp(signed: SignedDocument, keys: Keys) -> tuple[Timestamp, str]:
    """A timestamp that a timestamp key signed, and its hash. Raises `TrustError`."""
    _small(signed.data, LARGEST_TIMESTAMP, "timestamp.json")
    _signer(signed.data, signed.signature, TIMESTAMP_COMMENT, keys.of(keys.timestamp_keys), "timestamp key")
    return parse_timestamp(signed.data), _sha256(signed.data)


def open_release(signed: SignedDocument, timestamp: Timestamp, keys: Keys) -> tuple[Release, str]:
    """The release that `timestamp` names, signed by a release key, and its hash. Raises `TrustError`."""
    _small(signed.data, LARGEST_RELEASE, "release.json")
    sha256 = _sha256(signed.data)
    if (len(signed.data), sha256) != (timestamp.release_size, timestamp.release_sha256):
        raise TrustError(Alarm.MIXED, "The release is not the one that the timestamp names.")
    release = signed_release(signed, keys)
    if release.release_seq != timestamp.release_seq:
        text = f"The timestamp names release {timestamp.release_seq}, the document is {release.release_seq}."
        raise TrustError(Alarm.MIXED, text)
    return release, sha256


def signed_release(signed: SignedDocument, keys: Keys) -> Release:
    """A release that a release key signed, newest or not. Raises `TrustError`."""
    _small(signed.data, LARGEST_RELEASE, "release.json")
    _signer(signed.data, signed.signature, RELEASE_COMMENT, keys.of(keys.release_keys), "release key")
    release = parse_release(signed.data)
    if release.key_epoch > keys.key_epoch:
        text = f"The release is of key epoch {release.key_epoch}, the newest keys offered are of {keys.key_epoch}."
        raise TrustError(Alarm.KEYS_WITHHELD, text)
    return release


def _signer(data: bytes, raw: bytes, comment: str, keys: dict[str, PublicKey], role: str) -> PublicKey:
    signature = parse_signature(raw)
    key = verify(data, signature, keys, role)
    if signature.trusted_comment != comment:
        text = f"It was signed as {signature.trusted_comment[:100]!r}, not as {comment!r}."
        raise TrustError(Alarm.MIXED, text)
    return key


def _small(data: bytes, limit: int, what: str) -> None:
    if len(data) > limit:
        raise TrustError(Alarm.TOO_LARGE, f"{what} is larger than {limit} bytes.")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

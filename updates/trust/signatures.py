"""minisign signatures, `ED` (prehashed) only, checked by py-minisign behind a strict reader.

Accepts exactly what `minisign -S -t COMMENT` writes: four lines of printable ASCII, canonical base64, a trailing line
feed or none. Refuses the legacy `Ed`, other line counts, carriage returns, other bytes, over-long comments, and a key
id that is not the key's. Nothing of a signature file but the text of its untrusted comment can change without being
refused.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import minisign

from updates.errors import Alarm, TrustError

LARGEST_SIGNATURE = 10 << 10
"""Bytes of a signature file."""
LONGEST_COMMENT = 8192
"""Bytes of the trusted comment's line: minisign's own limit."""
_UNTRUSTED, _TRUSTED = b"untrusted comment: ", b"trusted comment: "
_SIGNATURE_BYTES, _GLOBAL_BYTES, _KEY_BYTES = 74, 64, 42
_ED = b"ED"


class Readable(Protocol):
    """An open file, or what reads like one."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A minisign public key."""

    text: str
    """Base64 as minisign prints it: `RW…`."""

    @property
    def id(self) -> str:
        """16 hexadecimal digits as minisign shows them."""
        return _shown_id(base64.b64decode(self.text)[2:10])

    @property
    def _key(self) -> minisign.PublicKey:
        return minisign.PublicKey.from_base64(self.text)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature file that has the right form; it proves nothing before `verify`."""

    raw: bytes
    key_id: str
    trusted_comment: str


def parse_public_key(text: str) -> PublicKey:
    """A key of one line. Raises `TrustError`."""
    raw = _canonical(text.encode("ascii", "replace"), _KEY_BYTES, "public key")
    if raw[:2] != b"Ed":
        raise TrustError(Alarm.MALFORMED, "This is not a minisign public key.")
    return PublicKey(text)


def parse_signature(data: bytes) -> Signature:
    """Read a `.minisig` file.

    Raises:
        TrustError: it is not exactly what minisign writes.
    """
    if len(data) > LARGEST_SIGNATURE:
        raise TrustError(Alarm.TOO_LARGE, f"The signature is larger than {LARGEST_SIGNATURE} bytes.")
    if any(byte != 0x0A and not 0x20 <= byte < 0x7F for byte in data):
        raise TrustError(Alarm.MALFORMED, "The signature holds bytes that are not printable ASCII.")
    lines = data.removesuffix(b"\n").split(b"\n")
    if len(lines) != 4:
        raise TrustError(Alarm.MALFORMED, f"The signature has {len(lines)} lines, not four.")
    if not lines[0].startswith(_UNTRUSTED) or not lines[2].startswith(_TRUSTED):
        raise TrustError(Alarm.MALFORMED, "The signature's comment lines do not begin as minisign's do.")
    if len(lines[2]) > LONGEST_COMMENT:
        raise TrustError(Alarm.TOO_LARGE, f"The trusted comment is longer than {LONGEST_COMMENT} bytes.")
    signature = _canonical(lines[1], _SIGNATURE_BYTES, "signature")
    _canonical(lines[3], _GLOBAL_BYTES, "signature of the comment")
    if signature[:2] != _ED:
        raise TrustError(Alarm.MALFORMED, "The signature is not of the prehashed kind ED; sign with a newer minisign.")
    return Signature(data, _shown_id(signature[2:10]), lines[2].removeprefix(_TRUSTED).decode("ascii"))


def verify(data: bytes | Readable, signature: Signature, keys: Mapping[str, PublicKey], role: str) -> PublicKey:
    """Which of `keys` (by id) signed `data`; a file is read in small pieces, to its end.

    Args:
        role: what the keys are, for the error: `release key`.

    Raises:
        TrustError: none of them did.
    """
    key = keys.get(signature.key_id)
    if key is None:
        raise TrustError(Alarm.WRONG_KEY, f"It is signed by the key {signature.key_id}, which is no {role} now.")
    try:
        key._key.verify(data, minisign.Signature.from_bytes(signature.raw))
    except minisign.Error as error:
        raise TrustError(Alarm.BAD_SIGNATURE, f"The signature by the {role} {key.id} is wrong: {error}.") from None
    return key


def _canonical(text: bytes, size: int, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise TrustError(Alarm.MALFORMED, f"The {what} is not base64.") from None
    if len(raw) != size or base64.b64encode(raw) != text:
        raise TrustError(Alarm.MALFORMED, f"The {what} is not the canonical base64 of {size} bytes.")
    return raw


def _shown_id(raw: bytes) -> str:
    return raw[::-1].hex().upper()

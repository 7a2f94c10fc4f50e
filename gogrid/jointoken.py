"""The join token: one paste that lets a machine become a worker.

`ggj1_` and then base62 of: version, flags, length, the coordinator's pin, token id, seed, expiry, up to three
addresses, CRC-32. The seed never crosses the wire: it derives a signing key of which the coordinator keeps only the
public half. Everything that can be wrong with a token is found out here, before anything is sent, as one `TokenError`.
"""

import ipaddress
import re
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gogrid import base62
from gogrid.addresses import Address
from gogrid.errors import TokenError

PREFIX = "ggj1_"
LINK = "gogrid://join/"
MAX_ADDRESSES = 3

_VERSION = 1
_NEEDS_APPROVAL = 1
_PIN, _ID, _SEED = 32, 8, 20
_FIXED = 3 + _PIN + _ID + _SEED + 4
_CRC = 4
_NOT_DIGIT = re.compile(r"[^0-9A-Za-z]")
_LONGEST_INPUT = 4096


@dataclass(frozen=True, slots=True)
class JoinToken:
    pin: bytes
    """SHA-256 of the coordinator's identity key, 32 bytes."""
    token_id: str
    """16 hexadecimal characters; the only part that may be logged."""
    expires_at: int
    """Seconds since 1970."""
    addresses: tuple[Address, ...]
    needs_approval: bool
    seed: bytes = field(repr=False)

    def key(self) -> Ed25519PrivateKey:
        """The signing key that proves possession of the token."""
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"gogrid join v1").derive(self.seed)
        return Ed25519PrivateKey.from_private_bytes(derived)

    def public_key(self) -> bytes:
        """What the coordinator keeps of the token's key, 32 bytes."""
        return self.key().public_key().public_bytes_raw()

    def text(self) -> str:
        """The token as it is pasted."""
        addresses = b"".join(_pack_address(address) for address in self.addresses)
        size = _FIXED + len(addresses)
        body = bytes([_VERSION, _NEEDS_APPROVAL if self.needs_approval else 0, size])
        body += self.pin + bytes.fromhex(self.token_id) + self.seed + self.expires_at.to_bytes(4, "big") + addresses
        return PREFIX + base62.encode(body + zlib.crc32(body).to_bytes(_CRC, "big"))


def mint(pin: bytes, addresses: Sequence[Address], expires_at: int, *, needs_approval: bool = False) -> JoinToken:
    """A new token with a secret of its own.

    Raises:
        TokenError: no address, more than three, or they are too long to paste.
    """
    if not 0 < len(addresses) <= MAX_ADDRESSES:
        raise TokenError(
            f"A join token names one to {MAX_ADDRESSES} addresses of the coordinator, not {len(addresses)}."
        )
    if len(pin) != _PIN or not 0 <= expires_at < 1 << 32:
        raise TokenError("A join token needs a 32-byte pin and an expiry between 1970 and 2106.")
    if _FIXED + sum(len(_pack_address(address)) for address in addresses) > 255:
        raise TokenError("The addresses are too long for one join token; name fewer or shorter ones.")
    token_id, seed = secrets.token_hex(_ID), secrets.token_bytes(_SEED)
    return JoinToken(pin, token_id, expires_at, tuple(addresses), needs_approval, seed)


def parse(text: str, now: float) -> JoinToken:
    """Read a pasted token or `gogrid://join/…` link; `now` is the wall clock, seconds since 1970.

    Raises:
        TokenError: says what is wrong with it; nothing was sent anywhere.
    """
    body = _checked_body(_digits_of(text))
    if body[0] != _VERSION:
        raise TokenError("This join token was made by a newer GoGrid; update this machine's GoGrid and try again.")
    at = 3
    pin, at = body[at : at + _PIN], at + _PIN
    token_id, at = body[at : at + _ID].hex(), at + _ID
    seed, at = body[at : at + _SEED], at + _SEED
    expires_at, at = int.from_bytes(body[at : at + 4], "big"), at + 4
    if now >= expires_at:
        when = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise TokenError(f"This join token expired on {when}; ask the coordinator's admin for a new one.")
    return JoinToken(pin, token_id, expires_at, _unpack_addresses(body[at:]), bool(body[1] & _NEEDS_APPROVAL), seed)


def _digits_of(text: str) -> str:
    """The base62 part of a paste, which mail programs may have wrapped."""
    if len(text) > _LONGEST_INPUT:
        raise TokenError("This is not a join token: it is far too long.")
    joined = "".join(text.split()).removeprefix(LINK).rstrip("/")
    if not joined:
        raise TokenError("No join token was given; paste the line that starts with ggj1_.")
    if not joined.startswith(PREFIX):
        if re.match(r"ggj[0-9]+_", joined):
            raise TokenError("This join token was made by another version of GoGrid; update this machine's GoGrid.")
        raise TokenError("This is not a join token: a join token starts with ggj1_.")
    digits = joined.removeprefix(PREFIX)
    if wrong := _NOT_DIGIT.search(digits):
        place = wrong.start() + len(PREFIX) + 1
        raise TokenError(f"This join token has {wrong[0]!r} at place {place}, which no token has; copy it again.")
    return digits


def _checked_body(digits: str) -> bytes:
    """The payload without its CRC; tells a cut token from a mistyped one by the length the token itself names."""
    raw = base62.decode(digits)
    if len(digits) < base62.WHOLE_BLOCK:
        raise TokenError("This join token is cut short; copy all of it.")
    size = raw[2]
    expected = base62.encoded_length(size + _CRC)
    if size >= _FIXED and len(digits) < expected:
        raise TokenError(
            f"This join token is cut short: {len(digits) + len(PREFIX)} of {expected + len(PREFIX)} characters; "
            "copy all of it."
        )
    if size >= _FIXED and len(digits) > expected:
        more = len(digits) - expected
        characters = "character" if more == 1 else "characters"
        raise TokenError(f"This join token has {more} {characters} too many; copy it again.")
    body, crc = raw[:-_CRC], raw[-_CRC:]
    if size < _FIXED or len(body) != size or zlib.crc32(body).to_bytes(_CRC, "big") != crc:
        raise TokenError("This join token has a mistyped character: its checksum does not fit; copy it again.")
    return body


# --- addresses --------------------------------------------------------------------------------------------------------


def _pack_address(address: Address) -> bytes:
    """Kind (4 or 6 for an IP address, else 0), host, port."""
    try:
        host = ipaddress.ip_address(address.host)
        head = bytes([host.version]) + host.packed
    except ValueError:
        name = address.host.encode("ascii", errors="replace")
        head = bytes([0, min(len(name), 255)]) + name
    return head + address.port.to_bytes(2, "big")


def _unpack_addresses(data: bytes) -> tuple[Address, ...]:
    addresses: list[Address] = []
    at = 0
    try:
        while at < len(data):
            kind, at = data[at], at + 1
            if kind == 0:
                size, at = data[at], at + 1
                host = data[at : at + size].decode("ascii")
            else:
                size = {4: 4, 6: 16}[kind]
                host = str(ipaddress.ip_address(data[at : at + size]))
            at += size
            addresses.append(Address(host, int.from_bytes(data[at : at + 2], "big")))
            at += 2
    except (IndexError, KeyError, ValueError):
        raise TokenError("This join token names an address that this GoGrid cannot read; update it.") from None
    if not 0 < len(addresses) <= MAX_ADDRESSES or at != len(data):
        raise TokenError("This join token names no address that can be read; ask for a new one.")
    return tuple(addresses)

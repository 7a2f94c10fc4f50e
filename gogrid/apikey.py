"""The API key: `ggk_<id8>_<secret43><crc6>`, base62.

The prefix lets secret scanners find a leaked key, the underscores let a double-click select all of it, the checksum
tells a mistyped key without asking anybody. The secret is 256 random bits, so its plain SHA-256 is what is kept.
"""

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass, field

from gogrid import base62
from gogrid.errors import GoGridError
from gogrid.ids import KeyId

PREFIX = "ggk_"
_ID, _SECRET, _CRC = 8, 43, 6
_FORM = re.compile(rf"ggk_([0-9A-Za-z]{{{_ID}}})_([0-9A-Za-z]{{{_SECRET}}})([0-9A-Za-z]{{{_CRC}}})")


class ApiKeyError(GoGridError):
    """The text is not an API key; found out without asking the coordinator."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    id: KeyId
    """`key_` and 8 characters; may be logged."""
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """The key as its owner keeps it."""
        body = f"{PREFIX}{self.id.removeprefix('key_')}_{self.secret}"
        return body + _checksum(body)

    @property
    def secret_sha256(self) -> bytes:
        """What the coordinator keeps, 32 bytes."""
        return hashlib.sha256(self.secret.encode()).digest()


def new_api_key() -> ApiKey:
    return ApiKey(KeyId("key_" + _random(_ID)), _random(_SECRET))


def parse_api_key(text: str) -> ApiKey:
    """Read a key as its owner keeps it.

    Raises:
        ApiKeyError: it is none, or has a typing mistake; the text is not repeated.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        length = len(PREFIX) + _ID + 1 + _SECRET + _CRC
        raise ApiKeyError(f"This is not an API key: a key starts with {PREFIX} and has {length} characters.")
    if _checksum(text[:-_CRC]) != match[3]:
        raise ApiKeyError("This API key has a mistyped character: its checksum does not fit; copy it again.")
    return ApiKey(KeyId("key_" + match[1]), match[2])


def _random(length: int) -> str:
    return "".join(secrets.choice(base62.DIGITS) for _ in range(length))


def _checksum(body: str) -> str:
    return base62.encode_number(zlib.crc32(body.encode()), _CRC)

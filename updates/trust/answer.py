"""What crosses the wire when a machine asks for updates: Tauri's manifest, with the signed documents beside it.

`GET /updates/{target}/{current_version}` is 204 where there is nothing newer, else an `Answer`. Its first four fields
are for Tauri's updater; ours looks at `gogrid` only, whose documents are the signed bytes as text. `GET
/updates/keys/{epoch}` is a `KeysAnswer`. Nothing here is trusted: `verdict.evaluate` judges it.
"""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from updates.errors import Alarm, TrustError
from updates.trust.chain import SignedDocument, SignedKeys
from updates.trust.documents import (
    LARGEST_KEYS,
    LARGEST_RELEASE,
    LARGEST_TIMESTAMP,
    MOST_ROOT_SIGNATURES,
    Sequence,
)
from updates.trust.signatures import LARGEST_SIGNATURE

LARGEST_ANSWER = 384 << 10
"""Bytes; nobody reads on behind them."""

_SignatureText = Annotated[str, Meta(max_length=LARGEST_SIGNATURE)]

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class Platform(msgspec.Struct, frozen=True):
    """Tauri's."""

    url: str
    signature: str


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    key_epoch: Sequence
    """The newest there is; whoever knows an older one asks for those between first."""
    release_seq: Sequence
    ts_seq: Sequence
    timestamp: Annotated[str, Meta(max_length=LARGEST_TIMESTAMP)]
    timestamp_signature: _SignatureText
    release: Annotated[str, Meta(max_length=LARGEST_RELEASE)]
    release_signature: _SignatureText

    @property
    def signed_timestamp(self) -> SignedDocument:
        return SignedDocument(self.timestamp.encode(), self.timestamp_signature.encode())

    @property
    def signed_release(self) -> SignedDocument:
        return SignedDocument(self.release.encode(), self.release_signature.encode())


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    notes: str
    pub_date: str
    platforms: dict[str, Platform]
    gogrid: Offer


class KeysAnswer(msgspec.Struct, frozen=True, kw_only=True):
    keys: Annotated[str, Meta(max_length=LARGEST_KEYS)]
    signatures: Annotated[tuple[_SignatureText, ...], Meta(max_length=MOST_ROOT_SIGNATURES)]

    @property
    def signed(self) -> SignedKeys:
        return SignedKeys(self.keys.encode(), tuple(text.encode() for text in self.signatures))


def parse_answer(data: bytes) -> Offer:
    """Raises `TrustError`."""
    return _parse(data, Answer).gogrid


def parse_keys_answer(data: bytes) -> SignedKeys:
    """Raises `TrustError`."""
    return _parse(data, KeysAnswer).signed


def _parse(data: bytes, kind: type[_Answer]) -> _Answer:
    if len(data) > LARGEST_ANSWER:
        raise TrustError(Alarm.TOO_LARGE, f"The answer is larger than {LARGEST_ANSWER} bytes.")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TrustError(Alarm.MALFORMED, f"The answer is not one about updates: {error}.") from None

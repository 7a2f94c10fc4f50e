"""What is signed: `keys.json`, `timestamp.json` and `release.json`, parsed strictly into frozen values.

Every text, list and number has a limit, every document a size in bytes; moments carry their time zone. Unknown fields
are ignored, so that later publishers may say more; what is known must be right. `release.json` is a Tauri manifest with
more: `version`, `notes`, `pub_date` and `platforms.<target>.{url,signature}` are Tauri's. Parsing trusts nothing: the
signature is checked first, over the bytes as they came.
"""

import base64
import binascii
import re
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from updates.errors import Alarm, TrustError
from updates.trust.signatures import LARGEST_SIGNATURE, PublicKey, Signature, parse_public_key, parse_signature

SCHEMA = 1
LARGEST_KEYS = 64 << 10
LARGEST_TIMESTAMP = 16 << 10
LARGEST_RELEASE = 64 << 10
MOST_ROOT_SIGNATURES = 16
WORKER_APP = "gogrid-worker"
ENGINE_APP = "gogrid-engine"
"""Engine packs; their targets name the accelerator as well: `linux-x86_64-cuda`."""

KEYS_COMMENT = "gogrid1 keys"
TIMESTAMP_COMMENT = "gogrid1 timestamp"
RELEASE_COMMENT = "gogrid1 release"
"""The trusted comments of the documents: a signature under one kind cannot be shown under another."""

Sequence = Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]
Known = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
"""A sequence number, or 0: none."""
Moment = Annotated[datetime, Meta(tz=True)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z")]
Target = Annotated[str, Meta(pattern=r"^[a-z0-9]+-[a-z0-9_]+(-[a-z0-9]+)?\Z", max_length=64)]
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\Z")]
Version = Annotated[str, Meta(pattern=r"^[0-9][0-9A-Za-z.+-]{0,63}\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
KeyId = Annotated[str, Meta(pattern=r"^[0-9A-F]{16}\Z")]
KeyText = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/=]{56}\Z")]
Percent = Annotated[int, Meta(ge=0, le=100)]
Size = Annotated[int, Meta(ge=1, le=16 << 30)]
Dotted = Annotated[str, Meta(pattern=r"^([0-9]{1,6}(\.[0-9]{1,6}){0,3})?\Z")]
PythonAbi = Annotated[str, Meta(pattern=r"^[a-z0-9]{0,16}\Z")]
Notes = Annotated[str, Meta(max_length=16 << 10)]
SequenceList = Annotated[tuple[Sequence, ...], Meta(max_length=256)]

AnyDocument = TypeVar("AnyDocument", bound="Document")


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    schema: int


class _Dated(Document, frozen=True, kw_only=True):
    expires: Moment


class Keys(_Dated, frozen=True, kw_only=True):
    """`keys.json`: who may sign what from this epoch on."""

    key_epoch: Sequence
    release_keys: Annotated[tuple[KeyText, ...], Meta(min_length=1, max_length=8)]
    timestamp_keys: Annotated[tuple[KeyText, ...], Meta(min_length=1, max_length=8)]
    revoked: Annotated[tuple[KeyId, ...], Meta(max_length=64)] = ()
    """Keys that count no more, wherever they are listed."""

    def of(self, texts: tuple[str, ...]) -> dict[str, PublicKey]:
        """The keys among `texts` that count, by id."""
        keys = (parse_public_key(text) for text in texts)
        return {key.id: key for key in keys if key.id not in self.revoked}


class Timestamp(_Dated, frozen=True, kw_only=True):
    """`timestamp.json`: which release is the newest, and how far it is rolled out."""

    app: Name
    channel: Name
    ts_seq: Sequence
    release_seq: Sequence
    release_sha256: Digest
    release_size: Annotated[int, Meta(ge=1, le=LARGEST_RELEASE)]
    issued_at: Moment
    rollout_percent: Percent | None = None
    """Overrides the release's own."""


class Rollout(msgspec.Struct, frozen=True):
    percent: Percent
    salt: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+\Z")]


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """What an update downloads for one target."""

    url: Annotated[str, Meta(max_length=256)]
    """`/files/SHA256/NAME` on whatever serves this document."""
    signature: Annotated[str, Meta(max_length=16 << 10)]
    """Base64 of the whole `.minisig`, as Tauri has it."""
    sha256: Digest
    size: Size
    format: Annotated[str, Meta(pattern=r"^[a-z0-9.]{1,16}\Z")]
    os_min: Dotted = ""
    python_abi: PythonAbi = ""

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


class Installer(msgspec.Struct, frozen=True, kw_only=True):
    """What a person downloads for one target; not used by updates."""

    target: Target
    name: FileName
    signature: Annotated[str, Meta(max_length=16 << 10)]
    sha256: Digest
    size: Size
    format: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.]{1,16}\Z")]
    os_min: Dotted = ""

    @property
    def url(self) -> str:
        return file_url(self.sha256, self.name)


class Release(_Dated, frozen=True, kw_only=True):
    """`release.json`: one release of one app in one channel."""

    app: Name
    channel: Name
    release_seq: Sequence
    key_epoch: Sequence
    version: Version
    notes: Notes
    pub_date: Moment
    issued_at: Moment
    security_floor: Known = 0
    """The lowest release that may still run or be gone back to."""
    min_from_seq: Known = 0
    """The lowest release that may take this one directly."""
    revoked: SequenceList = ()
    rollout: Rollout
    platforms: Annotated[dict[Target, Artifact], Meta(min_length=1, max_length=32)]
    installers: Annotated[tuple[Installer, ...], Meta(max_length=32)] = ()

    def files(self) -> tuple[tuple[str, Artifact | Installer], ...]:
        """Every file it names, with its target."""
        return (*self.platforms.items(), *((each.target, each) for each in self.installers))


def parse_keys(data: bytes) -> Keys:
    """Raises `TrustError`."""
    keys = parse_document(data, LARGEST_KEYS, Keys, "keys.json")
    check_keys(keys)
    return keys


def check_keys(keys: Keys) -> None:
    """Raises `TrustError`: a key is none, or has two roles."""
    release, timestamp = (
        {parse_public_key(text).id for text in texts} for texts in (keys.release_keys, keys.timestamp_keys)
    )
    if release & timestamp:
        raise TrustError(Alarm.MALFORMED, "keys.json gives one key two roles.")


def parse_timestamp(data: bytes) -> Timestamp:
    """Raises `TrustError`."""
    return parse_document(data, LARGEST_TIMESTAMP, Timestamp, "timestamp.json")


def parse_release(data: bytes) -> Release:
    """Raises `TrustError`."""
    release = parse_document(data, LARGEST_RELEASE, Release, "release.json")
    _refuse_if(release.release_seq in release.revoked, "revokes itself")
    _refuse_if(release.release_seq < release.security_floor, "lies below its own security_floor")
    _refuse_if(release.min_from_seq >= release.release_seq, "can be reached from itself only")
    for artifact in release.platforms.values():
        url = file_url(artifact.sha256, artifact.name)
        _refuse_if(
            artifact.url != url or not _FILE_NAME.fullmatch(artifact.name), "names a file outside /files/SHA256/"
        )
    return release


def file_url(sha256: str, name: str) -> str:
    return f"/files/{sha256}/{name}"


def artifact_comment(release: Release, target: str, file: Artifact | Installer) -> str:
    """What the trusted comment of a file's signature must say."""
    return (
        f"gogrid1 seq={release.release_seq} version={release.version} target={target} sha256={file.sha256} "
        f"size={file.size}"
    )


def signature_of(file: Artifact | Installer) -> Signature:
    """The signature that a release carries for a file; proves nothing yet. Raises `TrustError`."""
    try:
        raw = base64.b64decode(file.signature, validate=True)
    except (binascii.Error, ValueError):
        raise TrustError(Alarm.MALFORMED, "A file's signature is not base64.") from None
    if len(raw) > LARGEST_SIGNATURE:
        raise TrustError(Alarm.TOO_LARGE, "A file's signature is too large.")
    return parse_signature(raw)


_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


def _refuse_if(wrong: bool, what: str) -> None:
    if wrong:
        raise TrustError(Alarm.MALFORMED, f"release.json {what}.")


def parse_document(data: bytes, limit: int, kind: type[AnyDocument], what: str) -> AnyDocument:
    """Args: what: the document's name. Raises `TrustError`: it is too large, or not as it must be."""
    if len(data) > limit:
        raise TrustError(Alarm.TOO_LARGE, f"{what} is larger than {limit} bytes.")
    try:
        document = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TrustError(Alarm.MALFORMED, f"{what} is not as it must be: {error}.") from None
    if document.schema != SCHEMA:
        raise TrustError(Alarm.MALFORMED, f"{what} has the schema {document.schema}, this program knows {SCHEMA}.")
    return document

"""A publisher in memory: real minisign keys, documents as plain values that a test bends before they are signed."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import minisign

from updates.trust.anchors import Anchors
from updates.trust.chain import SignedDocument, SignedKeys
from updates.trust.trusted_state import TrustedState
from updates.trust.verdict import Documents, InstallFacts

DAY = 86400.0
NOW = 1_800_000_000.0
APP, CHANNEL, TARGET = "gogrid-worker", "stable", "linux-x86_64"
FILE = b"the new program, packed" * 40
Json = dict[str, Any]


@cache
def key(name: str) -> minisign.KeyPair:
    """One key for each name."""
    return minisign.KeyPair.generate()


def public(name: str) -> str:
    return key(name).public_key.to_base64().decode()


def key_id(name: str) -> str:
    return base64.b64decode(public(name))[2:10][::-1].hex().upper()


def sign(data: bytes, by: str, comment: str, *, prehash: bool = True) -> bytes:
    return bytes(key(by).secret_key.sign(data, trusted_comment=comment, prehash=prehash)) + b"\n"


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def anchors(first_epoch: int = 1) -> Anchors:
    return Anchors(first_epoch=first_epoch, root_keys=tuple(public(name) for name in ("root1", "root2", "root3")))


def fresh(**fields: Any) -> TrustedState:
    return TrustedState(app=APP, channel=CHANNEL, **fields)


def install(**fields: Any) -> InstallFacts:
    known: Json = {
        "anchors": anchors(),
        "app": APP,
        "channel": CHANNEL,
        "target": TARGET,
        "version": "1.0.0",
        "seq": 5,
        "install_id": "machine-1",
    }
    return InstallFacts(**(known | fields))


def nothing(_document: Json) -> None:
    """Bends nothing."""


@dataclass
class Publisher:
    """What is published next; fields are numbers and who signs."""

    epoch: int = 1
    ts_seq: int = 10
    seq: int = 7
    version: str = "2.0.0"
    percent: int = 100
    file: bytes = FILE
    release_keys: Sequence[str] = ("release1",)
    timestamp_keys: Sequence[str] = ("timestamp1",)
    roots: Sequence[str] = ("root1", "root2")
    release_by: str = "release1"
    timestamp_by: str = "timestamp1"
    at: float = NOW
    bend_keys: Callable[[Json], None] = nothing
    bend_release: Callable[[Json], None] = nothing
    bend_timestamp: Callable[[Json], None] = nothing
    artifact: Json = field(default_factory=dict)

    def keys(self) -> SignedKeys:
        document: Json = {
            "schema": 1,
            "key_epoch": self.epoch,
            "expires": moment(self.at + 365 * DAY),
            "release_keys": [public(name) for name in self.release_keys],
            "timestamp_keys": [public(name) for name in self.timestamp_keys],
        }
        self.bend_keys(document)
        data = json.dumps(document).encode()
        return SignedKeys(data, tuple(sign(data, root, "gogrid1 keys") for root in self.roots))

    def artifact_of(self, target: str = TARGET) -> Json:
        sha256, size = hashlib.sha256(self.file).hexdigest(), len(self.file)
        comment = f"gogrid1 seq={self.seq} version={self.version} target={target} sha256={sha256} size={size}"
        return {
            "url": f"/files/{sha256}/gogrid.zip",
            "signature": base64.b64encode(sign(self.file, self.release_by, comment)).decode(),
            "sha256": sha256,
            "size": size,
            "format": "zip",
        } | self.artifact

    def release(self) -> SignedDocument:
        document: Json = {
            "schema": 1,
            "app": APP,
            "channel": CHANNEL,
            "release_seq": self.seq,
            "key_epoch": self.epoch,
            "version": self.version,
            "notes": "Better.",
            "pub_date": moment(self.at),
            "issued_at": moment(self.at),
            "expires": moment(self.at + 90 * DAY),
            "rollout": {"percent": self.percent, "salt": "salt"},
            "platforms": {TARGET: self.artifact_of()},
        }
        self.bend_release(document)
        data = json.dumps(document).encode()
        return SignedDocument(data, sign(data, self.release_by, "gogrid1 release"))

    def timestamp(self, release: SignedDocument) -> SignedDocument:
        document: Json = {
            "schema": 1,
            "app": APP,
            "channel": CHANNEL,
            "ts_seq": self.ts_seq,
            "release_seq": self.seq,
            "release_sha256": hashlib.sha256(release.data).hexdigest(),
            "release_size": len(release.data),
            "issued_at": moment(self.at),
            "expires": moment(self.at + 7 * DAY),
        }
        self.bend_timestamp(document)
        data = json.dumps(document).encode()
        return SignedDocument(data, sign(data, self.timestamp_by, "gogrid1 timestamp"))

    def offer(self) -> Documents:
        release = self.release()
        return Documents((self.keys(),), self.timestamp(release), release)

"""Release folders as `gogrid-release` leaves them, written by the publisher in memory: no passphrase to wait for."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from tests.fakes.update_publisher import Json, Publisher, anchors, key_id, sign
from updates.release_folder import ReleaseFolder, signature_beside, write_new

INSTALLERS = {
    "linux-x86_64": "GoGrid-2.0.0.AppImage",
    "windows-x86_64": "GoGrid-2.0.0-setup.exe",
    "darwin-aarch64": "GoGrid-2.0.0.dmg",
}


def installer(publisher: Publisher, target: str, name: str, data: bytes) -> Json:
    sha256 = hashlib.sha256(data).hexdigest()
    comment = (
        f"gogrid1 seq={publisher.seq} version={publisher.version} target={target} sha256={sha256} size={len(data)}"
    )
    return {
        "target": target,
        "name": name,
        "signature": base64.b64encode(sign(data, publisher.release_by, comment)).decode(),
        "sha256": sha256,
        "size": len(data),
        "format": name.rsplit(".", 1)[-1],
        "os_min": "2.31",
    }


def release_folder(root: Path, publisher: Publisher, percents: Sequence[int] = (100,)) -> ReleaseFolder:
    """Write everything that is published together; timestamps are numbered from the publisher's `ts_seq` on."""
    folder = ReleaseFolder(root)
    files = {name: f"the installer for {target}".encode() for target, name in INSTALLERS.items()}
    bend = publisher.bend_release

    def with_installers(document: Json) -> None:
        document["installers"] = [
            installer(publisher, target, name, files[name]) for target, name in INSTALLERS.items()
        ]
        bend(document)

    signed = replace(publisher, bend_release=with_installers).release()
    _put(folder.release, signed.data, signed.signature)
    add_keys(folder, publisher)
    for seq, percent in enumerate(percents, publisher.ts_seq):

        def rolled_out(document: Json, percent: int = percent) -> None:
            document["rollout_percent"] = percent
            publisher.bend_timestamp(document)

        stepped = replace(publisher, ts_seq=seq, bend_timestamp=rolled_out)
        stamp = stepped.timestamp(signed)
        _put(folder.timestamps / f"timestamp-{seq}.json", stamp.data, stamp.signature)
    for name, data in {**files, "gogrid.zip": publisher.file}.items():
        write_new(folder.files / name, data)
    return folder


def add_keys(folder: ReleaseFolder, publisher: Publisher) -> None:
    keys = publisher.keys()
    path = folder.keys / f"keys-{publisher.epoch}.json"
    write_new(path, keys.data)
    for root, signature in zip(publisher.roots, keys.signatures, strict=True):
        write_new(path.with_name(f"{path.name}.{key_id(root)}.minisig"), signature)


def root_keys(path: Path) -> Path:
    path.write_bytes(msgspec.json.encode(anchors()))
    return path


def _put(path: Path, data: bytes, signature: bytes) -> None:
    write_new(path, data)
    write_new(signature_beside(path), signature)

"""Engine packs of a few bytes, and a publisher of them: what `probe_engine` takes for an engine, without torch."""

import hashlib
import io
import zipfile
from typing import Any

from runner.engine_pack.find import this_python
from tests.fakes.update_publisher import Json, Publisher
from updates.engine_pack.manifest import MANIFEST, PackedFile, PackedWheel, PackManifest, encode_manifest
from updates.engine_pack.system import this_system
from updates.trust.documents import ENGINE_APP

TARGET = f"{this_system()}-cpu"
_MODULES = ("torch", "transformers", "safetensors")


def pack(mark: str = "", *, padding: int = 0, **fields: str) -> bytes:
    """The archive. Args: mark: tells packs apart; padding: more bytes, which do not compress."""
    files = {f"site-packages/{name}/__init__.py": f"mark = {mark!r}\n".encode() for name in _MODULES}
    noise = b"".join(hashlib.sha256(f"{mark}{at}".encode()).digest() for at in range(-(-padding // 32)))
    files["site-packages/torch/lib.so"] = noise
    listed = tuple(PackedFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items())
    wheel = PackedWheel(name="torch", version="2.13.0", file="torch.whl", sha256="0" * 64)
    usual = {"target": TARGET, "python": this_python(), "version": "2.13.0", **fields}
    manifest = PackManifest(packages=(wheel,), files=listed, **usual)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(MANIFEST, encode_manifest(manifest))
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def publisher(file: bytes, seq: int = 7, *, target: str = TARGET, signed_for: str = "", **fields: Any) -> Publisher:
    """Releases of the engine. Args: signed_for: another target than the one under which the pack is offered."""
    made = Publisher(file=file, seq=seq, version=f"2.13.{seq}", **fields)

    def release(document: Json) -> None:
        document["app"] = ENGINE_APP
        document["platforms"] = {target: made.artifact_of(signed_for or target)}

    def timestamp(document: Json) -> None:
        document["app"] = ENGINE_APP

    made.bend_release, made.bend_timestamp = release, timestamp
    return made

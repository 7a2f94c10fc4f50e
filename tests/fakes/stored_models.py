"""A model on disk as an earlier worker left it."""

from pathlib import Path

from gogrid.ids import Sha256
from gogrid.manifest import decode_manifest
from runner.models.disk import ModelDisk
from tests.fakes.local_models import MemoryBlobs


def store_model(root: Path, blobs: MemoryBlobs, *, used: float, note: int = 0) -> Sha256:
    """Args: `used`: when it was used last, seconds since 1970; `note` makes it another model."""
    digest = blobs.echo_model(100, note)
    disk = ModelDisk(root)
    disk.open()
    disk.blob(digest).write_bytes(blobs.blobs[digest])
    disk.seal(digest)
    disk.publish(digest, decode_manifest(blobs.blobs[digest]))
    disk.used(digest, used)
    return digest

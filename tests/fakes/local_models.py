"""Models for tests of the runner: blobs that come from memory instead of a coordinator."""

from pathlib import Path

from gogrid.ids import Sha256
from gogrid.manifest import ModelManifest, digest_of, encode_manifest
from gogrid.protocol.job_messages import FailCode
from runner.errors import ModelError
from runner.models.blobs import Moved


class MemoryBlobs:
    """Implements the blob seams of `models.cache` and `scripts`."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}

    def add(self, data: bytes) -> Sha256:
        self.blobs[digest_of(data)] = data
        return digest_of(data)

    def echo_model(self, memory_bytes: int, note: int = 0) -> Sha256:
        """A model without files; `note` makes it different from others."""
        manifest = ModelManifest(
            kind="chat",
            engine="echo",
            format="none",
            context_length=1000 + note,
            width=0,
            memory_bytes=memory_bytes,
            files=(),
        )
        return self.add(encode_manifest(manifest))

    async def fetch(
        self, sha256: Sha256, target: Path, *, max_size: int, exact: bool, moved: Moved, lasting: bool = True
    ) -> None:
        if sha256 not in self.blobs:
            raise ModelError("there is no such blob", FailCode.INTERNAL)
        target.write_bytes(self.blobs[sha256])
        moved(len(self.blobs[sha256]))

    async def store(self, sha256: Sha256, source: Path) -> None:
        self.stored[sha256] = source.read_bytes()

"""The model manifest: a model's files by content.

Its canonical bytes are a blob; their SHA-256 is the model's digest. So a digest names every byte of a model, and a
worker that is told only a digest can fetch and check all of it. Refuses paths that could leave the model's folder.
"""

import hashlib
import re
from typing import Literal

import msgspec

from gogrid.errors import GoGridError
from gogrid.ids import Sha256

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ManifestError(GoGridError):
    """The bytes are not a model manifest."""


class ModelFile(msgspec.Struct, frozen=True):
    path: str
    """Relative, `/` between parts, letters, digits, `.`, `_` and `-`."""
    sha256: Sha256
    size: int
    """Bytes."""


class ModelManifest(msgspec.Struct, frozen=True, kw_only=True):
    schema: Literal[1] = 1
    kind: Literal["chat", "embedding"]
    engine: str
    """`torch`, or `echo` for tests."""
    format: Literal["safetensors", "gguf", "none"]
    context_length: int
    width: int
    """Embedding width; 0 for chat models."""
    memory_bytes: int
    """Estimate of what serving it needs."""
    files: tuple[ModelFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)


def encode_manifest(manifest: ModelManifest) -> bytes:
    """The canonical bytes: JSON with sorted keys, files sorted by path."""
    ordered = msgspec.structs.replace(manifest, files=tuple(sorted(manifest.files, key=lambda file: file.path)))
    return msgspec.json.encode(ordered, order="sorted")


def decode_manifest(data: bytes) -> ModelManifest:
    """Parse and check manifest bytes.

    Raises:
        ManifestError: not a manifest, or a path or hash in it is not acceptable.
    """
    try:
        manifest = msgspec.json.decode(data, type=ModelManifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"This is not a model manifest: {error}.") from error
    for field in ("context_length", "width", "memory_bytes"):
        if getattr(manifest, field) < 0:
            raise ManifestError(f"The manifest's {field} is negative.")
    _check_files(manifest.files)
    return manifest


def _check_files(files: tuple[ModelFile, ...]) -> None:
    seen: set[str] = set()
    folders: set[str] = set()
    for file in files:
        if not all(_PART.fullmatch(part) for part in file.path.split("/")):
            raise ManifestError(f"The manifest names a file {file.path!r} that is not a plain relative path.")
        if not _SHA256.fullmatch(file.sha256) or file.size < 0:
            raise ManifestError(f"The manifest's entry for {file.path} has no proper hash or size.")
        if file.path.lower() in seen:
            raise ManifestError(f"The manifest names {file.path} twice.")
        seen.add(file.path.lower())
        parts = file.path.lower().split("/")
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
    if both := sorted(seen & folders):
        raise ManifestError(f"The manifest names {both[0]} both as a file and as a folder.")


def digest_of(data: bytes) -> Sha256:
    """SHA-256 of some bytes, in hexadecimal."""
    return Sha256(hashlib.sha256(data).hexdigest())

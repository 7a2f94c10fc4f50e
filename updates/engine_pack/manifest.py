"""`engine-pack.json`, the first member of every pack: what the pack is for, what it is made of, and every file's hash.

Parsing is strict and bounded, and trusts nothing: the archive as a whole is signed like any other file of a release.
"""

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from updates.errors import UpdateError

SCHEMA = 1
APP = "gogrid-engine"
"""As releases of engine packs call it."""
MANIFEST = "engine-pack.json"
SITE = "site-packages"
"""The folder of a pack that goes onto `sys.path`."""
LARGEST_MANIFEST = 32 << 20
MOST_FILES = 100_000
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Target = Annotated[str, Meta(pattern=r"^[a-z]+-[a-z0-9_]+-[a-z0-9]+\Z", max_length=64)]
Version = Annotated[str, Meta(pattern=r"^[0-9][0-9A-Za-z.+-]{0,63}\Z")]
LARGEST_PACK = 16 << 30
"""Bytes, unpacked."""


class PackError(UpdateError):
    """An engine pack cannot be made or used; one sentence that says why."""


class PackedWheel(msgspec.Struct, frozen=True, kw_only=True):
    """One package of it, by the file it came in."""

    name: Annotated[str, Meta(max_length=128)]
    version: Annotated[str, Meta(max_length=64)]
    file: Annotated[str, Meta(max_length=256)]
    sha256: Digest


class PackedFile(msgspec.Struct, frozen=True, array_like=True):
    path: Annotated[str, Meta(max_length=1024)]
    size: Annotated[int, Meta(ge=0, le=LARGEST_PACK)]
    sha256: Digest


class PackManifest(msgspec.Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    app: str = APP
    target: Target
    """System and accelerator: `linux-x86_64-cuda`."""
    python: Annotated[str, Meta(pattern=r"^cp3[0-9]{1,2}\Z")]
    version: Version
    """Of torch."""
    os_min: Annotated[str, Meta(pattern=r"^([0-9]{1,6}(\.[0-9]{1,6}){0,3})?\Z")] = ""
    """The oldest system it runs on: of glibc on Linux, of the system elsewhere; empty: the wheels name none."""
    packages: Annotated[tuple[PackedWheel, ...], Meta(min_length=1, max_length=1000)]
    left_out: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    """Patterns of files of the packages that are not in it, because nothing at run time reads them."""
    files: Annotated[tuple[PackedFile, ...], Meta(min_length=1, max_length=MOST_FILES)]

    @property
    def system(self) -> str:
        """`linux-x86_64`."""
        return self.target.rpartition("-")[0]

    @property
    def accelerator(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return self.target.rpartition("-")[2]

    @property
    def unpacked(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def label(self) -> str:
        """`torch 2.13.0 for linux-x86_64-cpu, cp311`."""
        return f"torch {self.version} for {self.target}, {self.python}"


def parse_manifest(data: bytes) -> PackManifest:
    """Raises `PackError`."""
    if len(data) > LARGEST_MANIFEST:
        raise PackError(f"The manifest of this engine pack is larger than {LARGEST_MANIFEST} bytes.")
    try:
        manifest = msgspec.json.decode(data, type=PackManifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PackError(f"This is not the manifest of an engine pack: {error}.") from None
    if manifest.schema != SCHEMA or manifest.app != APP:
        raise PackError("This is a pack of another kind, or for a newer GoGrid.")
    return manifest


def packed_manifest(archive: Path) -> PackManifest:
    """Of a pack that is not unpacked. Raises `PackError`, `OSError`."""
    try:
        with zipfile.ZipFile(archive) as packed, packed.open(MANIFEST) as file:
            return parse_manifest(file.read(LARGEST_MANIFEST + 1))
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise PackError(f"{archive} is no engine pack: {error}.") from error


def file_sha256(path: Path) -> Digest:
    """As a manifest lists it. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encode_manifest(manifest: PackManifest) -> bytes:
    """The same bytes for the same manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=0)

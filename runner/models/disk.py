"""The model cache as it lies on disk.

    blobs/<sha256>         files by content, each once; a model's manifest is one of them
    blobs/<sha256>.part    what has arrived of one
    views/<digest>/…       one read-only folder per complete model: hard links under the manifest's own paths
    converted/<digest>/…   the same model in the engine's format, where it had to be converted

Promises: what bears a name is complete and verified; appearing and vanishing are single renames. A verified file is
made read-only and gets a fixed modification time as its seal: whoever writes to it breaks the seal, and a broken seal,
a missing link or a wrong size counts as absent. Damage below the file system, which keeps the seal, is for `recheck`.
"""

import os
import shutil
from pathlib import Path

from gogrid.files import flush_folder
from gogrid.ids import Sha256
from gogrid.manifest import ManifestError, ModelManifest, decode_manifest
from runner.models.blobs import hash_file
from runner.models.eviction import CachedModel

_SEAL_NS = 1_000_000_000 * 10**9
"""Modification time of verified files: 2001-09-09 01:46:40 UTC."""


class ModelDisk:
    def __init__(self, root: Path) -> None:
        self._blobs, self._views, self._converted = root / "blobs", root / "views", root / "converted"
        self._staging = root / "staging"

    def open(self) -> None:
        """Make the folders, and sweep away what an earlier process left half-done."""
        for folder in (self._blobs, self._views, self._converted):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._staging.exists():
            delete_tree(self._staging)
        self._staging.mkdir(mode=0o700)

    def blob(self, sha256: Sha256) -> Path:
        return self._blobs / sha256

    def view(self, digest: Sha256) -> Path:
        return self._views / digest

    def converted(self, digest: Sha256) -> Path:
        return self._converted / digest

    def staging(self, digest: Sha256) -> Path:
        """A new empty folder on the cache's file system."""
        folder = self._staging / f"{digest[:16]}-{os.urandom(4).hex()}"
        folder.mkdir(mode=0o700)
        return folder

    def has(self, sha256: Sha256, size: int | None) -> bool:
        """Whether the blob is there, whole and sealed."""
        return _sealed(self.blob(sha256), size)

    def seal(self, sha256: Sha256) -> None:
        """The blob's bytes have been verified."""
        _seal(self.blob(sha256))

    def manifest(self, digest: Sha256) -> ModelManifest | None:
        if not self.has(digest, None):
            return None
        try:
            return decode_manifest(self.blob(digest).read_bytes())
        except ManifestError:
            return None

    def complete(self, digest: Sha256, manifest: ModelManifest) -> bool:
        """Whether the model's folder is there with every file whole and sealed."""
        folder = self.view(digest)
        return folder.is_dir() and all(_sealed(folder / file.path, file.size) for file in manifest.files)

    def publish(self, digest: Sha256, manifest: ModelManifest) -> Path:
        """Make the model's folder from blobs that are all there."""
        staging = self.staging(digest)
        for file in manifest.files:
            link = staging / file.path
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.blob(file.sha256), link)
        self._replace(staging, self.view(digest))
        return self.view(digest)

    def adopt_converted(self, digest: Sha256, folder: Path) -> Path:
        """Keep `folder`, whose files have been checked, as the model's converted form."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
                _seal(path)
        self._replace(folder, self.converted(digest))
        return self.converted(digest)

    def converted_complete(self, digest: Sha256) -> bool:
        files = [path for path in self.converted(digest).rglob("*") if not path.is_dir()]
        return bool(files) and all(_sealed(path, None) for path in files)

    def used(self, digest: Sha256, now: float) -> None:
        """Remember the time of last use, also over restarts."""
        os.utime(self.view(digest), (now, now))

    def models(self, pinned: frozenset[Sha256]) -> tuple[CachedModel, ...]:
        """Every model that has a folder."""
        found: list[CachedModel] = []
        for folder in self._views.iterdir():
            digest = Sha256(folder.name)
            manifest = self.manifest(digest)
            blobs = {} if manifest is None else {file.sha256: file.size for file in manifest.files}
            own = sum(path.stat().st_size for path in self.converted(digest).rglob("*") if path.is_file())
            found.append(CachedModel(digest, blobs, own, folder.stat().st_mtime, digest in pinned))
        return tuple(found)

    def remove(self, digest: Sha256) -> None:
        """Remove a model and the files that no other model's folder links to."""
        manifest = self.manifest(digest)
        for folder in (self.view(digest), self.converted(digest)):
            if folder.exists():
                gone = self.staging(digest) / "removed"
                folder.replace(gone)
                delete_tree(gone.parent)
        if manifest is None:
            return
        for file in manifest.files:
            blob = self.blob(file.sha256)
            if blob.exists() and blob.stat().st_nlink == 1:
                _unlink(blob)
        _unlink(self.blob(digest))

    def discard(self, sha256: Sha256) -> None:
        """Throw a blob away whose seal is broken or whose bytes are wrong."""
        _unlink(self.blob(sha256))
        _unlink(self._blobs / f"{sha256}.part")

    def recheck(self, digest: Sha256) -> bool:
        """Hash every file again; what is wrong is thrown away. True: all was right."""
        manifest = self.manifest(digest)
        if manifest is None:
            return False
        right = True
        for sha256 in {file.sha256 for file in manifest.files}:
            if not self.blob(sha256).exists() or hash_file(self.blob(sha256)) != sha256:
                self.discard(sha256)
                right = False
        if not right:
            delete_tree(self.view(digest))
        return right

    def _replace(self, staging: Path, folder: Path) -> None:
        for inner in [staging, *(path for path in staging.rglob("*") if path.is_dir())]:
            inner.chmod(0o755)
        if folder.exists():
            delete_tree(folder)
        staging.rename(folder)
        for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
            inner.chmod(0o555)
        flush_folder(folder.parent)


def delete_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, read-only folders too."""
    if not folder.exists():
        return
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder)


def _sealed(path: Path, size: int | None) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return found.st_mtime_ns == _SEAL_NS and (size is None or found.st_size == size)


def _seal(path: Path) -> None:
    path.chmod(0o444)
    os.utime(path, ns=(_SEAL_NS, _SEAL_NS))


def _unlink(path: Path) -> None:
    if os.name == "nt" and path.exists():
        path.chmod(0o600)
    path.unlink(missing_ok=True)

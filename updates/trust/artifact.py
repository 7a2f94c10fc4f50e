"""Whether a file is the one that a release names: its signature's comment, its signature, its size, its hash.

A file is read once, in small pieces, and never past the size that the release says.
"""

import hashlib

from updates.errors import Alarm, TrustError
from updates.trust.documents import Artifact, Installer, Keys, Release, artifact_comment, signature_of
from updates.trust.signatures import Readable, Signature, verify


def file_signature(release: Release, target: str, file: Artifact | Installer) -> Signature:
    """The signature that a release carries for a file, made for exactly this; it still proves nothing.

    Raises:
        TrustError: it was made for another release, version, target, hash or size.
    """
    signature = signature_of(file)
    if signature.trusted_comment != artifact_comment(release, target, file):
        text = f"The file for {target} was signed as {signature.trusted_comment[:200]!r}, which is not this release."
        raise TrustError(Alarm.MIXED, text)
    return signature


def check_file(source: Readable, release: Release, target: str, file: Artifact | Installer, keys: Keys) -> None:
    """Raises `TrustError`: not this file, or not signed by a release key that counts."""
    signature = file_signature(release, target, file)
    counted = _Counted(source, file.size)
    verify(counted, signature, keys.of(keys.release_keys), "release key")
    if counted.size != file.size:
        raise TrustError(Alarm.MIXED, f"The file has {counted.size} bytes, the release says {file.size}.")
    if counted.sha256 != file.sha256:
        raise TrustError(Alarm.MIXED, "The file does not have the hash that the release says.")


class _Counted:
    """Hashes and counts what passes; refuses the first byte too many."""

    def __init__(self, source: Readable, limit: int) -> None:
        self._source = source
        self._limit = limit
        self._hash = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        left = self._limit + 1 - self.size
        data = self._source.read(left if size < 0 else min(size, left))
        self.size += len(data)
        if self.size > self._limit:
            raise TrustError(Alarm.MIXED, f"The file is larger than the {self._limit} bytes that the release says.")
        self._hash.update(data)
        return data

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

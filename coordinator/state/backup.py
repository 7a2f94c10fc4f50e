"""Backups: a folder or one `.tar` with the database, the identity and the blobs that the database names.

Promises of `make`: one consistent point, taken beside a running coordinator; there under its name only when it is whole
and on disk; readable by its owner only. Promises of `restore`: into an empty folder, all of it or nothing; every byte
compared with the hash it was stored under; every blob that its database names is there, unless `backup` said that it
was not copied; what workers held before is void (`snapshot.make_current`).

The database is copied first: whatever it names was stored before. A blob that was removed meanwhile means another copy.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec

from coordinator.errors import RequestError, StateError
from coordinator.models.catalogue import blobs_of, blobs_of_job
from coordinator.records import JobRecord
from coordinator.state.archive import FolderSource, FolderTarget, Source, Target, TarSource, TarTarget
from coordinator.state.blobs import BlobStore
from coordinator.state.folder import StateFolder
from coordinator.store import snapshot
from gogrid import __version__
from gogrid.ids import Sha256

_FORMAT = 1
_MANIFEST = "backup.json"
_LARGEST_MANIFEST = 1 << 20
_EPOCH_ZERO = 1_704_067_200
"""2024-01-01. Restored epochs count seconds from here: above any that were given out since the backup, below 2**29."""
_LATEST = 253_402_214_400
"""9999-12-31, the last day that a calendar here knows."""


class Manifest(msgspec.Struct, frozen=True):
    """`backup.json`."""

    format: int
    program: str
    """The version that made it."""
    made_at: Annotated[float, msgspec.Meta(ge=0, le=_LATEST)]
    """Seconds since 1970."""
    with_blobs: bool
    files: dict[str, str]
    """SHA-256 of every file but the blobs, by name."""
    blobs: Annotated[int, msgspec.Meta(ge=0)]
    missing: list[str]
    """Blobs that the database names and that were not there to be copied."""


@dataclass(frozen=True, slots=True)
class Made:
    path: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Restored:
    manifest: Manifest
    missing: list[Sha256]
    """Blobs that the database names and the backup never had. Without a model's manifest its files are not known."""


def make(folder: StateFolder, to: Path | None, with_blobs: bool, now: float) -> Made:
    """Make a backup of a coordinator, running or not. `now`: seconds since 1970, `made_at` of the backup.

    Args:
        to: a name ending in `.tar`: one file; a folder that is there: a new one inside it; else the new folder itself;
            None: a new folder in the working folder.

    Raises:
        StateError: the place is taken or in the coordinator's own folder, the database cannot be copied, or is damaged.
        OSError: the place cannot be written.
    """
    path = _place(to, folder, now)
    path.parent.mkdir(parents=True, exist_ok=True)
    for last in (False, False, True):
        scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        scratch.mkdir(mode=0o700)
        try:
            return Made(path, _build(folder, path, scratch, with_blobs, now, allow_missing=last))
        except _BlobGoneError:
            continue
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    raise StateError("Files are removed here as fast as they are copied; make the backup again.")


class _BlobGoneError(Exception):
    """The database names a blob that is not there (any more)."""


def _build(
    folder: StateFolder, path: Path, scratch: Path, with_blobs: bool, now: float, *, allow_missing: bool
) -> Manifest:
    database = scratch / "copy"
    snapshot.take(folder.database, database)
    blobs = BlobStore(folder.blobs)
    named = _named(database, blobs) if with_blobs else set()
    missing: list[str] = sorted(digest for digest in named if blobs.size(digest) is None)
    if missing and not allow_missing:
        raise _BlobGoneError
    present = sorted(named.difference(missing))
    files = {folder.database.name: database} | {
        file.name: file
        for file in (folder.identity_key, folder.identity_certificate, folder.root_keys, folder.config_file)
        if file.exists()
    }
    hashes = {name: _hash(file) for name, file in files.items()}
    manifest = Manifest(_FORMAT, __version__, now, with_blobs, hashes, len(present), missing)
    target: Target = TarTarget(scratch / "archive") if path.suffix == ".tar" else FolderTarget(scratch / "folder")
    try:
        target.add_bytes(_MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        for name, file in files.items():
            target.add_file(name, file)
        for digest in present:
            _add_blob(target, digest, blobs)
        target.publish(path)
    finally:
        target.close()
    return manifest


def _named(database: Path, blobs: BlobStore) -> set[Sha256]:
    named: set[Sha256] = set()
    for record in snapshot.contents(database):
        named |= blobs_of_job(record) if isinstance(record, JobRecord) else blobs_of(record, blobs)
    return named


def _add_blob(target: Target, digest: Sha256, blobs: BlobStore) -> None:
    try:
        target.add_blob(f"blobs/{digest[:2]}/{digest}", blobs.path(digest))
    except FileNotFoundError:
        raise _BlobGoneError from None


def restore(backup: Path, folder: StateFolder, now: float) -> Restored:
    """Make a coordinator's state folder from a backup.

    Raises:
        StateError: it is no backup, or a damaged one, or the folder already holds something; nothing is left there.
    """
    with _opened(backup) as source:
        manifest = _read_manifest(source, backup)
        folder.begin()
        try:
            for path in (folder.database, folder.identity_key, folder.identity_certificate):
                _restore_file(source, manifest, path, 0o644 if path == folder.identity_certificate else 0o600)
            _restore_blobs(source, manifest, folder)
            snapshot.make_current(folder.database, int(now) - _EPOCH_ZERO)
            missing = _missing(manifest, folder)
            if folder.root_keys.name in manifest.files:
                _restore_file(source, manifest, folder.root_keys, 0o644)
            if folder.config_file.name in manifest.files and not folder.config_file.exists():
                _restore_file(source, manifest, folder.config_file, 0o644)  # the only one that a failure would leave
            folder.finish()
        except BaseException:
            folder.abandon()
            raise
    return Restored(manifest, missing)


def _place(to: Path | None, folder: StateFolder, now: float) -> Path:
    path = (to or Path()).expanduser().absolute()
    if path.is_dir():
        path /= f"gogrid-backup-{int(now)}"
    if path.exists():
        raise StateError(f"{path} is there already; give another place with --to.")
    real = Path(os.path.realpath(path))
    if any(real.is_relative_to(os.path.realpath(own)) for own in (folder.root, folder.blobs)):
        raise StateError(f"{path} is in the coordinator's own folder; give a place outside {folder.root} with --to.")
    return path


def _restore_file(source: Source, manifest: Manifest, path: Path, mode: int) -> None:
    try:
        with source.open(path.name) as file:
            found = _copy(file, path, mode)
    except FileNotFoundError:
        raise StateError(f"{path.name} is missing in the backup; use another backup.") from None
    if found != manifest.files.get(path.name):
        raise StateError(f"{path.name} in the backup is damaged; use another backup.")


def _restore_blobs(source: Source, manifest: Manifest, folder: StateFolder) -> None:
    blobs = BlobStore(folder.blobs)
    names = [name for name in source.names() if name.startswith("blobs/")]
    if len(names) < manifest.blobs:
        raise StateError(f"{manifest.blobs - len(names)} files are missing in the backup; use another backup.")
    if len(names) > manifest.blobs:
        raise StateError(
            f"The backup holds {len(names)} files of models and jobs, {manifest.blobs} when it was made; "
            "use another backup."
        )
    for name in names:
        with source.open(name) as file:
            try:
                blobs.put_open(file, Sha256(name.rsplit("/", 1)[-1]))
            except RequestError:
                raise StateError(f"{name} in the backup is damaged; use another backup.") from None


def _missing(manifest: Manifest, folder: StateFolder) -> list[Sha256]:
    """What the restored database names and is not there. Raises `StateError` if the backup had it when it was made."""
    blobs = BlobStore(folder.blobs)
    missing = sorted(digest for digest in _named(folder.database, blobs) if blobs.size(digest) is None)
    lost = set(missing).difference(manifest.missing) if manifest.with_blobs else ()
    if lost:
        raise StateError(
            f"{len(lost)} files that models or jobs name are missing in the backup, others are in their place; "
            "use another backup."
        )
    return missing


def _copy(source: BinaryIO, path: Path, mode: int) -> str:
    """Its SHA-256; the file is on disk, its name when the folder is flushed."""
    digest = hashlib.sha256()
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _read_manifest(source: Source, backup: Path) -> Manifest:
    try:
        with source.open(_MANIFEST) as file:
            manifest = msgspec.json.decode(file.read(_LARGEST_MANIFEST), type=Manifest)
    except FileNotFoundError:
        raise StateError(f"{backup} is no backup of a coordinator.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateError(f"{backup} is no backup of a coordinator; {_MANIFEST} in it is wrong: {error}.") from None
    if manifest.format != _FORMAT:
        raise StateError(
            f"{backup} was made by GoGrid {manifest.program}, whose backups this program does not know; use that one."
        )
    return manifest


@contextmanager
def _opened(backup: Path) -> Iterator[Source]:
    if backup.is_dir():
        yield FolderSource(backup)
        return
    if not backup.exists():
        raise StateError(f"There is no backup {backup}.")
    if not backup.is_file():  # before it is opened: a pipe would wait for its writer
        raise StateError(f"{backup} is neither a folder nor a file, so no backup of a coordinator.")
    source = TarSource(backup)
    try:
        yield source
    finally:
        source.close()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

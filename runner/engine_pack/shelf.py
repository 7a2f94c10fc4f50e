"""The engine packs of one worker, below `data/engines`, each in a folder named by the SHA-256 of its archive.

Promises: a pack is there whole or not at all, whatever ends the process or the power; a folder that is not exactly what
its manifest says is no pack. An installation that is asked to stop does so within one piece, and nothing is
left. What was left half done is removed by `sweep` and the next installation. One process changes a shelf at a time; a
second one is told so.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gogrid.file_lock import FileLock, FileLockError, LockHeldError
from gogrid.files import flush_folder, make_folder
from runner.errors import RunnerError
from updates.archive import ArchiveError, Bounds, UnpackStoppedError, never, unpack
from updates.client.errors import StoppedError
from updates.engine_pack.manifest import (
    LARGEST_MANIFEST,
    LARGEST_PACK,
    MANIFEST,
    MOST_FILES,
    SITE,
    PackError,
    PackManifest,
    parse_manifest,
)

_NAME = re.compile(r"[0-9a-f]{64}")
_FRESH = ".fresh-"
_PIECE = 1 << 20
_BOUNDS = Bounds(LARGEST_PACK, members=MOST_FILES + 1, ratio=1000)


class EnginePackError(RunnerError):
    """An engine pack cannot be used; one sentence that says why and what to do."""


class ShelfBusyError(EnginePackError):
    """Another process is at it; it is done first."""


@dataclass(frozen=True, slots=True)
class EnginePack:
    """One that is installed."""

    folder: Path
    manifest: PackManifest

    @property
    def sha256(self) -> str:
        return self.folder.name

    @property
    def site(self) -> Path:
        """To import from."""
        return self.folder / SITE


class Shelf:
    def __init__(self, folder: Path) -> None:
        """`folder` need not exist."""
        self._folder = folder

    def packs(self) -> tuple[tuple[EnginePack, ...], tuple[str, ...]]:
        """Those whose files are all there in their sizes, by name; and what is wrong with others, in words."""
        found, wrong = [], []
        for folder in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            if not _NAME.fullmatch(folder.name) or not folder.is_dir():
                continue
            try:
                pack = _read(folder)
                _check_sizes(pack)
            except (EnginePackError, PackError, OSError) as error:
                wrong.append(f"the engine pack {folder.name[:12]} cannot be used: {error}")
            else:
                found.append(pack)
        return tuple(found), tuple(wrong)

    def install(self, archive: Path, sha256: str, stop: Callable[[], bool] = never) -> EnginePack:
        """Unpack an archive that has this SHA-256, which the caller has reason to trust. Fine if it is there already; a
        damaged one is replaced.

        Args:
            stop: asked at every piece whether to end here.

        Raises:
            EnginePackError: it is another file, or no sound pack; `ShelfBusyError`: another process is at it.
            StoppedError: `stop` said so; nothing is left of it.
            OSError: the disk; for a full one nothing is left of it.
        """
        if _sha256(archive, stop) != sha256:
            raise EnginePackError(f"{archive} is not the engine pack that was meant: its SHA-256 is another.")
        make_folder(self._folder)
        with self._alone():
            return self._install(archive, sha256, stop)

    def sweep(self) -> None:
        """Remove what was left half done, which takes room on the disk. Raises like `install`."""
        if self._folder.is_dir():
            with self._alone():
                self._sweep()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with FileLock(self._folder.with_name(f"{self._folder.name}.lock")):
                yield
        except LockHeldError:
            raise ShelfBusyError(
                "Another GoGrid installs or removes an engine pack right now; try again when it is done."
            ) from None
        except FileLockError as error:
            raise EnginePackError(str(error)) from error

    def _install(self, archive: Path, sha256: str, stop: Callable[[], bool]) -> EnginePack:
        target = self._folder / sha256
        self._sweep()
        if target.exists():
            try:
                pack = _read(target)
                verify(pack, stop)
            except (EnginePackError, PackError):
                self._take_away(target)
            else:
                return pack
        fresh = self._folder / f"{_FRESH}{os.getpid()}"
        try:
            unpacked = unpack(archive, fresh, _BOUNDS, stop)
            manifest = _manifest(fresh)
            listed = {(file.path, file.size, file.sha256) for file in manifest.files}
            there = {(file.name, file.size, file.sha256) for file in unpacked if file.name != MANIFEST}
            if listed != there or len(listed) != len(manifest.files):
                raise EnginePackError(f"{archive} does not hold the files that its manifest lists.")
            fresh.rename(target)
        except UnpackStoppedError:
            raise StoppedError("Unpacking the engine pack was stopped.") from None
        except (ArchiveError, PackError) as error:
            raise EnginePackError(f"{archive}: {error}") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        flush_folder(self._folder)
        return EnginePack(target, manifest)

    def remove(self, start: str) -> EnginePack:
        """Remove the one pack whose SHA-256 starts so. Raises `EnginePackError`: none, or several do."""
        names = [path for path in self._folder.glob("*") if _NAME.fullmatch(path.name) and path.name.startswith(start)]
        if not start or len(names) != 1:
            raise EnginePackError(f"{len(names)} engine packs have a name that starts with {start!r}; name one.")
        pack = _read(names[0])
        with self._alone():
            self._take_away(names[0])
        return pack

    def _take_away(self, folder: Path) -> None:
        """In one step for whoever looks."""
        going = self._folder / f"{_FRESH}{folder.name[:12]}"
        folder.rename(going)
        shutil.rmtree(going)

    def _sweep(self) -> None:
        for left in self._folder.glob(f"{_FRESH}*"):
            shutil.rmtree(left, ignore_errors=True)


def verify(pack: EnginePack, stop: Callable[[], bool] = never) -> None:
    """Read every file of it.

    Raises:
        EnginePackError: one is missing, changed, or more than there should be.
        StoppedError: `stop` said so.
    """
    _check_sizes(pack)
    for file in pack.manifest.files:
        if _sha256(pack.folder / file.path, stop) != file.sha256:
            raise EnginePackError(f"{file.path} in it has changed; remove the pack and install it again.")
    expected = {MANIFEST, *(file.path for file in pack.manifest.files)}
    for path in pack.folder.rglob("*"):
        if not path.is_dir() and path.relative_to(pack.folder).as_posix() not in expected:
            raise EnginePackError(f"{path} is no part of it; remove the pack and install it again.")


def _read(folder: Path) -> EnginePack:
    return EnginePack(folder, _manifest(folder))


def _manifest(folder: Path) -> PackManifest:
    path = folder / MANIFEST
    if not path.is_file() or path.stat().st_size > LARGEST_MANIFEST:
        raise EnginePackError("it has no manifest; it is no engine pack.")
    return parse_manifest(path.read_bytes())


def _check_sizes(pack: EnginePack) -> None:
    for file in pack.manifest.files:
        path = pack.folder / file.path
        try:
            size = path.lstat().st_size
        except OSError:
            size = -1
        if size != file.size:
            raise EnginePackError(f"{file.path} is missing from it or was cut; remove the pack and install it again.")


def _sha256(path: Path, stop: Callable[[], bool]) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            if stop():
                raise StoppedError("Reading an engine pack was stopped.")
            digest.update(piece)
    return digest.hexdigest()

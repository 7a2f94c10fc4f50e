"""Unpack a zip that nobody has to trust: regular files and folders only, inside one new folder, never more than agreed.

Promises: nothing is created before every name has been judged; nothing is written outside the new folder, over
something that exists, or through a link; memory does not grow with the archive; a failure at any point leaves no
folder behind, and neither does being asked to stop, which is looked for at every piece. What it returns has been
flushed to disk and carries each file's SHA-256, as written.
Refuses: absolute names, `..`, `.`, empty parts, backslashes, drive and stream colons, control characters, names Windows
reserves or rewrites, two names that one file system may take for one, a file where another name needs a folder, links,
devices, encryption, methods other than stored and deflated, parts that overlap, bytes that belong to no member, and
more members, bytes or compression than `Bounds` allow. Of file modes only the executable bit is kept.
"""

import hashlib
import os
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_PIECE = 1 << 20
_FLUSHED = 64 << 20
"""Bytes; so many of one file go to the disk at once at most: nobody who wants to stop waits for more."""
_LONGEST_NAME = 1024
_LONGEST_PART = 255
_DEEPEST = 32
_SMALL = 16 << 20
"""Bytes; below this nothing is too well compressed: some libraries are mostly zeros."""
_DIRECTORY_ENTRY = 1024
"""Bytes of central directory that one member may take on average."""
_DESCRIPTOR = 24
"""Bytes that may follow a member: sums that were not known when it began."""
_END = struct.Struct("<4s4H2LH")
_LOCAL = struct.Struct("<4s5H3L2H")
_TAIL = _END.size + 20 + 56
"""Bytes at the end of an archive without a comment: its end, and where it is large, two more records."""
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{device}{digit}" for device in ("com", "lpt") for digit in "0123456789\u00b9\u00b2\u00b3"}
)
_FORBIDDEN = frozenset('\\:*?"<>|') | {chr(code) for code in (*range(32), *range(127, 160))}


class ArchiveError(Exception):
    """The archive is not what may be unpacked here; one sentence that says why."""


class UnpackStoppedError(Exception):
    """It was asked to stop; nothing is left of it."""


def never() -> bool:
    """Goes on."""
    return False


@dataclass(frozen=True, slots=True)
class Bounds:
    total_bytes: int
    """Of all files together, unpacked."""
    members: int = 10_000
    ratio: int = 200
    """Unpacked to packed bytes, of the whole archive and of each file, where they are not small anyway."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """One file as it was written."""

    name: str
    """With `/` between its parts."""
    size: int
    sha256: str
    executable: bool


@dataclass(frozen=True, slots=True)
class _Member:
    info: zipfile.ZipInfo
    parts: tuple[str, ...]
    folder: bool


def unpack(archive: Path, into: Path, bounds: Bounds, stop: Callable[[], bool] = never) -> tuple[Unpacked, ...]:
    """Unpack `archive` into the new folder `into`, whose parent exists and belongs to this user.

    Args:
        stop: asked at every piece whether to end here.

    Returns: every file, in the archive's order.

    Raises:
        ArchiveError: it is refused.
        UnpackStoppedError: `stop` said so.
        FileExistsError: `into` is there already.
        OSError: the disk; for a full one with `errno.ENOSPC`.
    """
    with archive.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        _check_end(file, size, bounds)
        try:
            with zipfile.ZipFile(file) as opened:
                members = judge(opened.infolist(), bounds, size)
                _check_layout(file, opened)
                os.mkdir(into, 0o700)
                try:
                    return tuple(_write_all(opened, members, into, stop))
                except BaseException:
                    shutil.rmtree(into, ignore_errors=True)
                    raise
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, struct.error, UnicodeError) as error:
            raise ArchiveError(f"The archive is damaged: {error}.") from error


def judge(infos: Sequence[zipfile.ZipInfo], bounds: Bounds, archive_size: int) -> tuple[_Member, ...]:
    """Every member, if all of them may be written together. Pure. Raises `ArchiveError`."""
    if not infos:
        raise ArchiveError("The archive is empty.")
    if len(infos) > bounds.members:
        raise ArchiveError(f"The archive has {len(infos)} members; allowed are {bounds.members}.")
    members = tuple(_member(info, bounds) for info in infos)
    total = sum(member.info.file_size for member in members)
    if total > bounds.total_bytes:
        raise ArchiveError(f"The archive unpacks to {total} bytes; allowed are {bounds.total_bytes}.")
    if total > bounds.ratio * max(archive_size, 1) + _SMALL:
        raise ArchiveError(f"The archive unpacks to more than {bounds.ratio} times its size.")
    _refuse_clashes(members)
    return members


def _refuse_clashes(members: Sequence[_Member]) -> None:
    seen: dict[str, tuple[str, bool]] = {}
    listed: set[str] = set()
    for member in members:
        for depth in range(1, len(member.parts) + 1):
            written, folder = "/".join(member.parts[:depth]), depth < len(member.parts) or member.folder
            known = seen.setdefault(_key(member.parts[:depth]), (written, folder))
            if known[0] != written:
                raise ArchiveError(f"The archive spells one name as {known[0]!a} and as {written!a}.")
            if known[1] != folder:
                raise ArchiveError(f"The archive has {written!a} both as a file and as a folder.")
        if _key(member.parts) in listed:
            raise ArchiveError(f"The archive has {member.info.filename!a} twice.")
        listed.add(_key(member.parts))


def _key(parts: Sequence[str]) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", "/".join(parts)).casefold())


def _member(info: zipfile.ZipInfo, bounds: Bounds) -> _Member:
    name = info.orig_filename
    if info.filename != name.replace("\\", "/") and info.filename != name:
        raise ArchiveError(f"The archive has a member with the name {name[:80]!a}.")
    folder = name.endswith("/")
    parts = tuple((name[:-1] if folder else name).split("/"))
    if len(name) > _LONGEST_NAME or len(parts) > _DEEPEST or any(_refused(part) for part in parts):
        raise ArchiveError(f"The archive has a member with the name {name[:80]!a}.")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG):
        raise ArchiveError(f"{name!a} in the archive is neither a file nor a folder.")
    if info.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"{name!a} in the archive is encrypted.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(f"{name!a} in the archive is packed in a way that is not used here.")
    if folder and info.file_size:
        raise ArchiveError(f"The folder {name!a} in the archive has contents of its own.")
    if info.file_size > max(_SMALL, bounds.ratio * info.compress_size):
        raise ArchiveError(f"{name!a} in the archive unpacks to more than {bounds.ratio} times its size.")
    return _Member(info, parts, folder)


def _refused(part: str) -> bool:
    if not part or part[-1] in ". " or _FORBIDDEN & set(part):
        return True
    try:
        if len(part.encode()) > _LONGEST_PART:
            return True
    except UnicodeEncodeError:
        return True
    return unicodedata.normalize("NFKC", part).split(".")[0].rstrip(" ").casefold() in _RESERVED or (
        not unicodedata.is_normalized("NFC", part)
    )


def _check_end(file: BinaryIO, size: int, bounds: Bounds) -> None:
    """Refuse a list of members that alone would take too much memory, before it is read."""
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    if len(tail) < _END.size or tail[-_END.size :][:4] != b"PK\x05\x06":
        raise ArchiveError("This is not a zip archive, or something follows its end.")
    length = _END.unpack(tail[-_END.size :])[5]
    if length == 0xFFFFFFFF:
        if len(tail) != _TAIL or tail[:4] != b"PK\x06\x06":
            raise ArchiveError("The end of the archive is damaged.")
        length = int.from_bytes(tail[40:48], "little")
    if length > bounds.members * _DIRECTORY_ENTRY:
        raise ArchiveError(f"The archive's list of members takes {length} bytes; allowed are {bounds.members} members.")
    file.seek(0)


def _check_layout(file: BinaryIO, opened: zipfile.ZipFile) -> None:
    """Members follow each other from byte 0 without overlap or gap: no bombs of shared parts, no second file inside."""
    end, room = 0, 0
    for info in sorted(opened.infolist(), key=lambda info: info.header_offset):
        _refuse_gap(info.header_offset - end, room)
        file.seek(info.header_offset)
        header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
            raise ArchiveError(f"The archive is damaged at {info.filename!a}.")
        fields = _LOCAL.unpack(header)
        end = info.header_offset + _LOCAL.size + fields[9] + fields[10] + info.compress_size
        room = _DESCRIPTOR
    _refuse_gap(opened.start_dir - end, room)


def _refuse_gap(gap: int, room: int) -> None:
    if gap < 0:
        raise ArchiveError("Two members of the archive overlap.")
    if gap > room:
        raise ArchiveError("The archive has bytes that belong to no member.")


def _write_all(
    opened: zipfile.ZipFile, members: Sequence[_Member], into: Path, stop: Callable[[], bool]
) -> Iterator[Unpacked]:
    tree = _Tree(into, stop)
    try:
        for member in members:
            _go_on(stop)
            if member.folder:
                tree.make(member.parts)
                continue
            executable = bool((member.info.external_attr >> 16) & stat.S_IXUSR)
            digest, written = hashlib.sha256(), 0
            with opened.open(member.info) as source, tree.create(member.parts, executable=executable) as target:
                while piece := source.read(_PIECE):
                    _go_on(stop)
                    written += len(piece)
                    if written > member.info.file_size:
                        break
                    digest.update(piece)
                    target.write(piece)
                    if written % _FLUSHED == 0:
                        target.flush()
                        os.fsync(target.fileno())
            if written != member.info.file_size:
                raise ArchiveError(f"{member.info.filename!a} in the archive does not have the size it says.")
            yield Unpacked("/".join(member.parts), written, digest.hexdigest(), executable)
        tree.flush()
    finally:
        tree.close()


def _go_on(stop: Callable[[], bool]) -> None:
    if stop():
        raise UnpackStoppedError


class _Tree:
    """Creates files below one folder that is held open; each step down refuses links, each file must be new.

    Where a system has no such calls (Windows), paths are used: the folder was made empty a moment ago for this user.
    """

    def __init__(self, root: Path, stop: Callable[[], bool]) -> None:
        self._root, self._stop = root, stop
        self._held = os.open in os.supports_dir_fd and os.mkdir in os.supports_dir_fd
        self._folders: dict[tuple[str, ...], int] = {}
        self._made: set[tuple[str, ...]] = {()}
        self._files: list[tuple[str, ...]] = []
        if self._held:
            self._folders[()] = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def make(self, parts: tuple[str, ...]) -> None:
        for depth in range(1, len(parts) + 1):
            self._make_one(parts[:depth])

    def create(self, parts: tuple[str, ...], *, executable: bool) -> BinaryIO:
        self.make(parts[:-1])
        self._files.append(parts)
        mode = 0o755 if executable else 0o644
        if not self._held:
            return self._root.joinpath(*parts).open("xb")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(parts[-1], flags, mode, dir_fd=self._folder(parts[:-1]))
        return os.fdopen(handle, "wb")

    def flush(self) -> None:
        """All files, then all folders; late, so that the disk has had time for most of it."""
        for parts in self._files:
            _go_on(self._stop)
            self._sync(parts, folder=False)
        for parts in sorted(self._made, key=len, reverse=True):
            self._sync(parts, folder=True)

    def close(self) -> None:
        for handle in self._folders.values():
            os.close(handle)
        self._folders.clear()

    def _make_one(self, parts: tuple[str, ...]) -> None:
        if parts in self._made:
            return
        if self._held:
            os.mkdir(parts[-1], 0o755, dir_fd=self._folder(parts[:-1]))
        else:
            self._root.joinpath(*parts).mkdir()
        self._made.add(parts)

    def _folder(self, parts: tuple[str, ...]) -> int:
        """An open handle; only the way to the last one used is kept open."""
        if parts not in self._folders:
            above = self._folder(parts[:-1])
            handle = os.open(parts[-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
            for other in [key for key in self._folders if key != parts[: len(key)]]:
                os.close(self._folders.pop(other))
            self._folders[parts] = handle
        return self._folders[parts]

    def _sync(self, parts: tuple[str, ...], *, folder: bool) -> None:
        if not self._held:
            if folder:
                return  # NTFS keeps its own journal of names
            with self._root.joinpath(*parts).open("rb+") as file:
                os.fsync(file.fileno())
            return
        kind = os.O_DIRECTORY if folder else 0
        if not parts:
            os.fsync(self._folder(()))
            return
        handle = os.open(parts[-1], os.O_RDONLY | kind | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder(parts[:-1]))
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

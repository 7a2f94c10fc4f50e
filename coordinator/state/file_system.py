"""Whether a folder lies on a disk of this machine or on another machine's.

The operating system's own table of mounts says it: `/proc/self/mountinfo` on Linux, `mount` on macOS, the kind of the
drive on Windows. Where none can be had the folder counts as local: a wrong refusal would stop a sound coordinator.
"""

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

_REMOTE = re.compile(
    r"(nfs\d?|cifs|smb\w*|afs|afpfs|auristorfs|coda|ncpfs|ceph|lustre|gpfs|beegfs|webdav|davfs2?|orangefs"
    r"|(fuse\.|fuseblk\.|macfuse\.?|osxfuse\.?)?(sshfs|glusterfs|s3fs|rclone|davfs2?|gcsfuse|ceph-fuse|juicefs|nfs|smb\w*))"
)
_MACOS_LINE = re.compile(r".* on (?P<point>/.*) \((?P<kind>[^,)]+).*\)")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_WINDOWS_REMOTE_DRIVE = 4


def remote_kind(folder: Path) -> str:
    """The kind of network file system that holds `folder` (which exists); empty if it is a disk of this machine."""
    place = folder.resolve()
    if sys.platform == "win32":
        return _windows_kind(place)
    mounts = _macos_mounts() if sys.platform == "darwin" else _linux_mounts()
    kind = kind_of_mount(PurePosixPath(place), mounts)
    return kind if _REMOTE.fullmatch(kind) else ""


def kind_of_mount(place: PurePosixPath, mounts: list[tuple[str, str]]) -> str:
    """The type of the mount that holds `place`; `mounts` are (mount point, type), in the order of mounting."""
    best, kind = "", ""
    for point, each in mounts:
        if place.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, each
    return kind


def parse_mountinfo(text: str) -> list[tuple[str, str]]:
    """(mount point, type) of each line of Linux's `/proc/self/mountinfo`; see proc(5)."""
    mounts = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if separator and len(fields) > 4:
            point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
            mounts.append((point, after.split(" ")[0]))
    return mounts


def parse_mount(text: str) -> list[tuple[str, str]]:
    """(mount point, type) of each line that macOS's `mount` prints."""
    found = (_MACOS_LINE.fullmatch(line) for line in text.splitlines())
    return [(match["point"], match["kind"]) for match in found if match]


def _linux_mounts() -> list[tuple[str, str]]:
    try:
        return parse_mountinfo(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        return []


def _macos_mounts() -> list[tuple[str, str]]:
    try:
        done = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_mount(done.stdout)


def _windows_kind(place: Path) -> str:
    import ctypes

    drive_type = getattr(ctypes, "windll").kernel32.GetDriveTypeW  # noqa: B009  # there on Windows only
    remote = place.drive.startswith("\\\\") or drive_type(place.anchor) == _WINDOWS_REMOTE_DRIVE
    return "a network drive" if remote else ""

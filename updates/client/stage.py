"""Make a verified archive a version that can be started: unpacked, flushed, judged, and only then under its number.

Promises: `versions/SEQ` is there completely or not at all, whenever this is cut short; on a full disk everything that
it took is given back; asked to stop, it does so within one piece. What starts does not change here;
`switch.py` does that.
"""

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from updates.archive import ArchiveError, Bounds, UnpackStoppedError, never, unpack
from updates.client.disk import Step, clear, flush_folder, own_folder, problem_of, rename, unnoticed
from updates.client.errors import CopyError, NoRoomError, StageError, StoppedError, UnfitError
from updates.client.layout import AppFolder, Copy, Installation, read_copy
from updates.trust.verdict import Install

BOUNDS = Bounds(total_bytes=2 << 30, members=20_000)
"""An app is some 90 MB in some thousand files."""


def stage(
    archive: Path,
    offer: Install,
    installation: Installation,
    program: str,
    step: Step = unnoticed,
    stop: Callable[[], bool] = never,
) -> Path:
    """Unpack what `Download` gave into its place; the archive is gone then.

    Args:
        program: the file name of what must be there to be started.
        stop: asked at every piece whether to end here.

    Raises:
        StoppedError: `stop` said so; the archive is still there for the next time.
        UnfitError: the archive is not what a release of this app must be.
        StageError: the disk does not let it.
        NoRoomError: the disk is full.
    """
    folder = installation.folder
    fresh, final = folder.versions / f".{offer.seq}.new", folder.version(offer.seq)
    try:
        own_folder(folder.versions)
        clear(fresh)
        remove(final, folder)
        unpack(archive, fresh, BOUNDS, stop)
        step("unpacked")
        _judge(fresh, offer, installation.copy, program)
        step("judged")
        rename(fresh, final)
        step("staged")
        archive.unlink(missing_ok=True)
        step("archive removed")
    except UnpackStoppedError:
        raise StoppedError("Unpacking the update was stopped.") from None
    except (ArchiveError, CopyError) as error:
        with suppress(OSError):
            clear(fresh)
        archive.unlink(missing_ok=True)
        raise UnfitError(f"Version {offer.release.version} cannot be used: {error}") from error
    except OSError as error:
        with suppress(OSError):
            clear(fresh)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            archive.unlink(missing_ok=True)
            raise NoRoomError("The disk is full, so the update was not unpacked; it is tried again later.") from error
        raise StageError(f"The update cannot be unpacked: {problem_of(error)}.") from error
    return final


def remove(path: Path, folder: AppFolder) -> None:
    """Take a version away, or whatever has its name, so that half of one never looks like a whole one.

    What cannot be removed stays: Windows keeps what somebody runs.
    """
    gone = path
    with suppress(OSError):
        if not path.name.startswith(".") and os.path.lexists(path):
            gone = folder.versions / f".{path.name}.old"
            clear(gone)
            path.rename(gone)
            flush_folder(folder.versions)
        clear(gone)


def _judge(fresh: Path, offer: Install, running: Copy, program: str) -> None:
    """Whether it is the release that was signed for: also an honest signer may pack the wrong folder."""
    copy = read_copy(fresh)
    said = (copy.app, copy.channel, copy.target, copy.version, copy.seq)
    meant = (running.app, running.channel, offer.target, offer.release.version, offer.seq)
    if said != meant:
        raise CopyError(f"it says that it is {' '.join(map(str, said))}, not {' '.join(map(str, meant))}.")
    path = fresh / program
    if not path.is_file() or (sys.platform != "win32" and not os.access(path, os.X_OK)):
        raise CopyError(f"it has no program {program}.")

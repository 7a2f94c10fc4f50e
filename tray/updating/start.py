"""Before anything else of `gogrid-worker`: is this copy the one to run, and can it be updated at all?

Only a program that was built for a release (frozen, with `copy.json` beside it) updates itself. Any other belongs to
pip, git or a package manager, and this module does nothing.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gogrid
from gogrid.places import WorkerPlaces

if TYPE_CHECKING:
    from tray.updating.work import UpdateWork
    from updates.client.boot import Here
    from updates.client.layout import Installation

FROM_SOURCE = (
    "This installation of GoGrid is updated by what installed it (pip, git or a package manager), not by itself."
)


@dataclass(frozen=True, slots=True)
class Updatable:
    """This program, where it can be updated."""

    installation: "Installation"
    here: "Here"

    def work(self, places: WorkerPlaces) -> "UpdateWork":
        from tray.updating.work import UpdateWork

        return UpdateWork(self.installation, self.here, Path(sys.executable).name, places.state / "coordinator.pem")

    def occupied(self) -> int | None:
        """What to end with where another one works here already; None: nobody waits to judge this version by it."""
        from updates.client.boot import OCCUPIED

        return OCCUPIED if self.here.awaited else None

    def ended(self, status: int) -> int:
        """What to end with when its work was ended with `status`; 0 could be that of a version that does nothing."""
        from updates.client.boot import ENDED

        return ENDED if status == 0 and self.here.awaited else status

    def start_anew(self) -> int:
        """What this process is to end with, where it does not vanish."""
        from updates.client.boot import start_anew

        return start_anew(self.here, sys.argv[1:], os.environ)


def installed(places: WorkerPlaces) -> "Installation | None":
    """None: it is not updated by itself."""
    if not getattr(sys, "frozen", False):
        return None
    from updates.client.errors import CopyError
    from updates.client.layout import AppFolder, Installation, read_copy

    place = Path(sys.executable).parent
    try:
        return Installation(AppFolder(places.app), read_copy(place), place)
    except CopyError:
        return None


def version(places: WorkerPlaces) -> str:
    """Of what runs, or would: of a newer one that lies ready with what the installer brought; nothing is decided."""
    installation = installed(places)
    return gogrid.__version__ if installation is None else version_to_run(installation)


def version_to_run(installation: "Installation") -> str:
    """`0.1.1 (installed as 0.1.0)`; of what cannot be read, this copy's."""
    from updates.client.probation import chosen
    from updates.client.switch import version_of
    from updates.errors import StateFileError

    copy = installation.copy
    try:
        seq = chosen(installation.load(), copy.seq, installation.folder.present())
    except StateFileError:
        return copy.version
    return copy.version if seq == copy.seq else f"{version_of(installation, seq)} (installed as {copy.version})"


def begin(places: WorkerPlaces, arguments: Sequence[str], *, supervising: bool) -> Updatable | int | None:
    """Hand over to a newer version if there is one.

    Args:
        supervising: this start is to stay and work; else it only speaks with the one that does.

    Returns: what this copy is to go on with, or the exit status with which a newer one has ended.
    """
    installation = installed(places)
    if installation is None:
        return None
    from updates.client.boot import Here, Launch, started_by

    here: Here | int | None = started_by(os.environ)
    if here is None:
        program = Path(sys.executable)
        launch = Launch(installation, program, launcher(program, os.environ), arguments, os.environ, _say)
        here = launch.run() if supervising else launch.hand_over()
    return here if isinstance(here, int) else Updatable(installation, here)


def launcher(program: Path, environment: Mapping[str, str]) -> Path:
    """What starts this program anew: itself, or the AppImage that it lies in (not one that merely started us)."""
    image, mounted = environment.get("APPIMAGE"), environment.get("APPDIR")
    return Path(image) if image and mounted and program.is_relative_to(mounted) else program


def _say(sentence: str) -> None:
    print(f"gogrid-worker: {sentence}", file=sys.stderr)

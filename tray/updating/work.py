"""What the updater does on the disk and over the network; blocking, called in threads, one at a time.

Loaded only by a program that was built for a release.
"""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gogrid.errors import IdentityError
from gogrid.identity import client_context
from tray.updating.settings import UpdateSettings, asked
from updates.client.ask import Place, ask
from updates.client.boot import Here
from updates.client.endpoints import Endpoint, check_address
from updates.client.errors import AskError, CopyError, EndpointError, UnfitError
from updates.client.fetch import fetch
from updates.client.layout import Installation, read_copy
from updates.client.probation import tried
from updates.client.stage import stage
from updates.client.switch import prove, ready, roll_back, switch, version_of
from updates.engine_pack.system import os_version
from updates.errors import TrustError
from updates.trust.verdict import Current, Install, InstallFacts, Refuse, Wait, quiet

_COORDINATOR = "coordinator"
"""The file with the address that was last known."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a check came to."""

    sentence: str
    warning: str = ""
    """What a person should be told."""
    urgent: bool = False
    version: str = ""
    install: Install | None = None
    """To be fetched."""
    places: tuple[Place, ...] = ()
    """Where it may be fetched: who offered it first, then the others; what comes is judged by its signature alone."""


class UpdateWork:
    def __init__(self, installation: Installation, here: Here, program: str, identity: Path) -> None:
        """
        Args:
            program: what a version must have to be started.
            identity: the joined coordinator's certificate; need not be there.
        """
        self._installation, self._here, self._program, self._identity = installation, here, program, identity
        self._coordinator = ""
        self._unfit: dict[str, str] = {}
        """Archives by SHA-256 that were fetched for nothing, and why: the same bytes are not fetched again."""

    def coordinator_is(self, address: str) -> None:
        """Remembered for when the worker does not run. Args: `address` as `https://host:port`."""
        if address != self._coordinator:
            self._coordinator = address
            path = self._installation.folder.root / _COORDINATOR
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text(address, encoding="ascii", errors="replace")

    def note(self) -> str:
        return self._installation.folder.note()

    def ready(self, pinned: str | None) -> int | None:
        """Raises `StateFileError`."""
        return ready(self._installation, self._installation.load(), pinned)

    def version_of(self, seq: int) -> str:
        return version_of(self._installation, seq)

    def tried(self) -> str:
        """The version that is on trial at this moment; empty: none is. Raises `StateFileError`."""
        state = self._installation.load()
        return self.version_of(state.installed) if tried(state) else ""

    def failed_once(self, seq: int) -> bool:
        """Raises `StateFileError`."""
        state = self._installation.load()
        return state.trial == seq and state.failed_starts > 0

    def prove(self) -> bool:
        """Raises `StateFileError`, `OSError`."""
        prove(self._installation)
        return True

    def check(self, settings: UpdateSettings) -> Found:
        """Raises `UpdateError`, `OSError`."""
        installation = self._installation
        copy = installation.copy
        facts = InstallFacts(
            anchors=installation.anchors,
            app=copy.app,
            channel=copy.channel,
            target=copy.target,
            version=copy.version,
            seq=copy.seq,
            install_id=installation.folder.install_id(),
            built_at=copy.built_at,
            os_version=os_version(),
            pinned=settings.pinned,
        )
        places = self._places(settings)
        outcome = ask(places, installation, facts, time.time())
        complaints = " ".join(outcome.complaints)
        match outcome.verdict:
            case Current():
                return Found(f"Version {copy.version} is the newest.", warning=complaints)
            case Wait() as wait:
                warning = " ".join(filter(None, (wait.sentence * wait.warn, complaints)))
                return Found(wait.sentence, warning=warning)
            case Refuse() as refuse:
                raise TrustError(refuse.alarm, f"An update was offered that is not to be believed: {refuse.sentence}")
            case Install() as install:
                if unfit := self._unfit.get(install.artifact.sha256):
                    return Found(unfit, warning=" ".join(filter(None, (unfit, complaints))))
                version, there = install.release.version, install.seq in installation.folder.present()
                return Found(
                    f"Version {version} is there.",
                    warning=complaints,
                    urgent=install.urgent,
                    version=version,
                    install=None if there else install,
                    places=(outcome.place, *(place for place in places if place != outcome.place)),
                )

    def fetch(self, found: Found, stop: threading.Event) -> tuple[str, ...]:
        """Download, check and unpack.

        Returns: what somebody should be told of places that sent wrong bytes.

        Raises:
            UpdateError, OSError: it did not come. `BusyError`: another program is at it; `StoppedError`: `stop` is set.
        """
        offer, folder = found.install, self._installation.folder
        if offer is None:
            return ()
        with folder.fetching():
            if offer.seq in folder.present():
                return ()  # another program was quicker
            fetched = fetch(offer, found.places, folder.downloads, self._installation.load, stop)
            try:
                stage(fetched.file, offer, self._installation, self._program, stop=stop.is_set)
            except UnfitError as error:
                self._unfit[offer.artifact.sha256] = str(error)
                raise
        return fetched.complaints

    def frozen(self) -> str:
        """What a person should be told of who is silent for weeks; empty: nobody is. Raises `StateFileError`."""
        copy = self._installation.copy
        verdict = quiet(self._installation.load(), time.time(), copy.built_at)
        return verdict.sentence if isinstance(verdict, Wait) else ""

    def switch(self, seq: int) -> None:
        """Raises `StateFileError`, `OSError`."""
        switch(self._installation, seq)

    def roll_back(self) -> str:
        """The version that runs next. Raises `NoWayBackError`, `StateFileError`, `OSError`."""
        installation = self._installation
        seq = roll_back(installation, self._here.own)
        version = version_of(installation, seq)
        if seq == self._here.own:
            with suppress(CopyError):  # in an AppImage it lies elsewhere
                version = read_copy(self._here.launcher.parent).version
        installation.folder.write_note(f"its owner went back from version {installation.copy.version} to {version}")
        return version

    def _places(self, settings: UpdateSettings) -> tuple[Place, ...]:
        found: list[Place] = []
        problem = None
        copy = self._installation.copy
        for one in asked(settings, self._known_coordinator(), copy.target, copy.version):
            try:
                trust = client_context(self._identity.read_bytes()) if one.pinned else None
            except (IdentityError, OSError) as error:
                problem = AskError(f"The joined coordinator's identity cannot be read: {error}")
            else:
                found.append(Place(Endpoint(one.check, one.base), trust))
        if problem is not None and not found:
            raise problem
        return tuple(found)

    def _known_coordinator(self) -> str:
        try:
            known = self._coordinator or (self._installation.folder.root / _COORDINATOR).read_text(encoding="ascii")
            check_address(known)
        except (OSError, UnicodeDecodeError, EndpointError):
            return ""
        return known

"""Engine packs of the joined coordinator: asked for, judged, fetched, checked and put on the shelf. Blocks.

Promises: nothing is installed that `updates.trust` does not believe, with a memory of its own for engine packs
(`engines/updates/`); what is cut short goes on the next time or leaves nothing; what is on the disk afterwards stays
below the cap. A pack for another system, a newer one, another accelerator or Python is refused before it is unpacked.
Asked to stop, it does so within one piece; a second process that fetches is told that there is one.
"""

import errno
import shutil
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.engine_pack.choice import dotted, too_old
from runner.engine_pack.find import find_pack
from runner.engine_pack.ledger import Fetched, added, load_ledger, save_ledger, served, superseded, without
from runner.engine_pack.shelf import EnginePack, EnginePackError, Shelf, ShelfBusyError, verify
from updates.client.ask import Place, ask
from updates.client.download import Download
from updates.client.endpoints import DEFAULT_PATH, Endpoint, endpoint
from updates.client.errors import NoRoomError
from updates.client.layout import AppFolder, Copy, Installation
from updates.engine_pack.manifest import PackError, PackManifest, packed_manifest
from updates.engine_pack.system import os_version
from updates.errors import TrustError
from updates.trust.documents import ENGINE_APP
from updates.trust.trusted_state import switched
from updates.trust.verdict import Current, Install, InstallFacts, Refuse, Verdict, Wait, WaitReason

UPDATES = "updates"
CHANNEL = "stable"
_MARGIN = 64 << 20
_UNPACKED = 4
"""A pack is about so many times as large on disk as its archive; asked before the download, known after it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a question came to."""

    sentence: str
    """Why nothing is fetched, if nothing is; empty: what is here is the newest."""
    offer: Install | None = None
    place: Place | None = None


class PackSource:
    def __init__(self, engines: Path, publisher: Path, target: str, python: str, cap: Callable[[], int]) -> None:
        """
        Args:
            engines: where packs lie.
            publisher: the folder with the root keys that this program was built with.
            target: `linux-x86_64-cuda`.
            python: `cp311`.
            cap: bytes that packs may take on the disk together.
        """
        self._engines, self._publisher, self._cap = engines, publisher, cap
        self.target, self._python = target, python
        self._shelf, self._folder = Shelf(engines), AppFolder(engines / UPDATES)
        self._unfit: dict[str, str] = {}
        """Packs by SHA-256 that were fetched for nothing, and why: the same bytes are not fetched again."""

    def chosen(self) -> EnginePack | None:
        """What executors import from after a start now."""
        return find_pack(self._engines, self.target.rpartition("-")[2]).pack

    def of_its_owner(self, pack: EnginePack) -> bool:
        """It was installed by hand, without a release: it is left as it is. Raises `EnginePackError`."""
        return load_ledger(self._engines).of(pack.sha256) is None

    def check(self, base: str, trust: ssl.SSLContext | None) -> Found:
        """Ask, and remember what was learned.

        Args:
            base: the coordinator's address, `https://host:port`.
            trust: who may answer there.

        Raises:
            UpdateError: nobody answers, or what is offered is not believed.
            EnginePackError, OSError: what is known cannot be read or written.
        """
        have = self._have()
        facts = InstallFacts(
            anchors=self._installation(have).anchors,
            app=ENGINE_APP,
            channel=CHANNEL,
            target=self.target,
            version=have.version if have is not None else "0",
            seq=have.seq if have is not None else 0,
            bare=have is None,
            install_id=self._folder.install_id(),
            os_version=os_version(),
            python_abi=self._python,
            size_limit=self._cap(),
        )
        outcome = ask((_place(base, trust, self.target, facts.version),), self._installation(have), facts, time.time())
        return self._found(outcome.verdict, outcome.place, bare=have is None)

    def fetch(self, found: Found, stop: threading.Event, moved: Callable[[int], None]) -> EnginePack:
        """Download, verify, unpack.

        Raises:
            UpdateError, EnginePackError, OSError: it did not work; says why. `StoppedError`: it was asked to stop.
        """
        offer, place = found.offer, found.place
        if offer is None or place is None:
            raise EnginePackError("There is no engine pack to fetch.")
        with self._folder.fetching():
            return self._fetch(offer, place, stop, moved)

    def _fetch(self, offer: Install, place: Place, stop: threading.Event, moved: Callable[[int], None]) -> EnginePack:
        self._shelf.sweep()
        self._require_room(offer.artifact.size * (1 + _UNPACKED), offer.artifact.size * _UNPACKED)
        download = Download(offer, place, self._folder.downloads, stop=stop, moved=moved)
        archive = download.run(self._installation(None).load)
        try:
            manifest = packed_manifest(archive)
            self._judge(manifest, offer)
        except (EnginePackError, PackError) as error:
            archive.unlink(missing_ok=True)
            self._unfit[offer.artifact.sha256] = str(error)
            raise
        self._require_room(offer.artifact.size + manifest.unpacked, manifest.unpacked)
        return self._install(archive, offer, stop)

    def has_served(self, pack: EnginePack) -> tuple[str, ...]:
        """A model has answered with it: older fetched ones are removed. Returns: their SHA-256s."""
        ledger = served(load_ledger(self._engines), pack.sha256)
        gone = superseded(ledger, pack.sha256)
        for sha256 in gone:
            if (self._engines / sha256).is_dir():
                self._shelf.remove(sha256)
        save_ledger(self._engines, without(ledger, gone))
        return gone

    def look_closely(self, pack: EnginePack, stop: threading.Event) -> None:
        """Read every file of it.

        Raises:
            EnginePackError: it is damaged, and gone now.
            StoppedError: it was asked to stop.
        """
        try:
            verify(pack, stop.is_set)
        except EnginePackError:
            self._shelf.remove(pack.sha256)
            raise

    def _have(self) -> Fetched | None:
        """The release of what serves this hardware; None: nothing does."""
        pack = self.chosen()
        if pack is None or pack.manifest.target != self.target:
            return None
        return load_ledger(self._engines).of(pack.sha256)

    def _installation(self, have: Fetched | None) -> Installation:
        version, seq = (have.version, have.seq) if have is not None else ("0", 0)
        copy = Copy(app=ENGINE_APP, channel=CHANNEL, target=self.target, version=version, seq=seq)
        return Installation(self._folder, copy, self._publisher)

    def _found(self, verdict: Verdict, place: Place, *, bare: bool) -> Found:
        nothing = f"the coordinator offers no engine pack for {self.target}; its admin can publish one"
        match verdict:
            case Install() as offer:
                unfit = self._unfit.get(offer.artifact.sha256, "")
                return Found(unfit) if unfit else Found("", offer, place)
            case Refuse() as refuse:
                text = f"The engine pack that is offered is not to be believed: {refuse.sentence}"
                raise TrustError(refuse.alarm, text)
            case Wait() as wait if wait.reason is not WaitReason.NO_BUILD:
                return Found(wait.sentence)
            case Current() | Wait():
                return Found(nothing if bare else "")

    def _judge(self, manifest: PackManifest, offer: Install) -> None:
        said, meant = (manifest.target, manifest.python), (offer.target, self._python)
        if said != meant:
            raise EnginePackError(
                f"The engine pack of release {offer.seq} is for {' '.join(said)}, not {' '.join(meant)}, though it was "
                "signed so; tell its publisher."
            )
        if too_old(manifest, os_version()):
            raise EnginePackError(
                f"The engine pack of release {offer.seq} needs a system of {manifest.os_min} or later, this one is "
                f"{dotted(os_version())}."
            )

    def _require_room(self, more: int, unpacked: int) -> None:
        """Args: more: bytes that packs take meanwhile; unpacked: of these, what is not there yet at the latest."""
        there = sum(pack.manifest.unpacked for pack in self._shelf.packs()[0])
        if there + more > self._cap():
            needed, allowed = (there + more) / 1e9, self._cap() / 1e9
            raise NoRoomError(f"Engine packs need {needed:.1f} GB of disk, worker.disk_cap allows {allowed:.1f} GB.")
        self._engines.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(self._engines).free
        if free < unpacked + _MARGIN:
            text = f"The engine needs {(unpacked + _MARGIN) / 1e9:.1f} GB of free disk, there are {free / 1e9:.1f} GB"
            raise NoRoomError(f"{text}; free some.")

    def _install(self, archive: Path, offer: Install, stop: threading.Event) -> EnginePack:
        sha256, seq = offer.artifact.sha256, offer.seq
        fresh = Fetched(sha256=sha256, seq=seq, version=offer.release.version)
        save_ledger(self._engines, added(load_ledger(self._engines), fresh))
        try:
            pack = self._shelf.install(archive, sha256, stop.is_set)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            archive.unlink(missing_ok=True)
            raise NoRoomError("The disk is full, so the engine was not unpacked; it is tried again later.") from error
        except ShelfBusyError:
            raise
        except EnginePackError as error:
            archive.unlink(missing_ok=True)
            self._unfit[sha256] = str(error)
            raise
        self._installation(None).change(lambda state: switched(state, seq))
        archive.unlink(missing_ok=True)
        return pack


def _place(base: str, trust: ssl.SSLContext | None, target: str, version: str) -> Place:
    line = f"app={ENGINE_APP}&channel={CHANNEL}"
    check = endpoint(f"{base}{DEFAULT_PATH}?{line}", target, version).check
    return Place(Endpoint(check, base, line), trust)

"""A machine with version 5 and a server that offers version 7, over real HTTP."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes import little_app
from tests.fakes.update_publisher import NOW, Publisher, anchors
from tests.fakes.update_server import Served, serving
from updates.client.ask import Outcome, Place, ask
from updates.client.disk import Step, unnoticed
from updates.client.download import Download, Patience
from updates.client.endpoints import DEFAULT_PATH, endpoint
from updates.client.layout import Installation
from updates.trust.documents import WORKER_APP
from updates.trust.verdict import Install, InstallFacts

OLD, NEW = 5, 7
QUICK = Patience(waits_s=(0.0, 0.0), window_s=0.3, least=30_000)


@dataclass
class Grid:
    """A machine with version 5, and a server that offers version 7."""

    served: Served
    installation: Installation

    @property
    def place(self) -> Place:
        return Place(endpoint(self.served.url + DEFAULT_PATH, "linux-x86_64", "1.0.0"), None)

    @property
    def facts(self) -> InstallFacts:
        return InstallFacts(
            anchors=anchors(),
            app=WORKER_APP,
            channel="stable",
            target="linux-x86_64",
            version="1.0.0",
            seq=OLD,
            install_id=self.installation.folder.install_id(),
        )

    def ask(self, now: float = NOW) -> Outcome:
        return ask((self.place,), self.installation, self.facts, now)

    def offer(self) -> Install:
        verdict = self.ask().verdict
        assert isinstance(verdict, Install), verdict
        return verdict

    def download(self, stop: threading.Event | None = None, step: Step = unnoticed) -> Download:
        return Download(
            self.offer(),
            self.place,
            self.installation.folder.downloads,
            stop=stop or threading.Event(),
            patience=QUICK,
            step=step,
        )

    def fetch(self) -> Path:
        return self.download().run(self.installation.load)

    @property
    def downloads(self) -> list[str]:
        return sorted(path.suffix for path in self.installation.folder.downloads.glob("*"))


@contextmanager
def small_grid(folder: Path) -> Iterator[Grid]:
    little_app.write(folder / "installed", OLD, "1.0.0", "good")
    publisher = Publisher(seq=NEW, file=little_app.archive(NEW, "2.0.0", "good", ballast=os.urandom(300_000)))
    with serving(publisher) as served:
        yield Grid(served, little_app.installation(folder / "installed", folder / "app"))

"""A worker's folder that lacks an engine, and a publisher of engine packs of a few bytes."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from gogrid.places import WorkerPlaces, worker_places
from runner.engine_pack.find import find_pack, this_python
from runner.engine_pack.shelf import EnginePack
from runner.engine_pack.source import PackSource
from tests.fakes.engine_packs import TARGET, pack, publisher
from tests.fakes.update_publisher import Publisher
from tests.fakes.update_server import Served

AT = time.time() - 60
GB = 10**9


@dataclass
class Machine:
    """A worker's folder, and whom it believes."""

    folder: Path
    cap: int = 100 * GB

    @property
    def places(self) -> WorkerPlaces:
        return worker_places(
            config=None, data=self.folder / "data", environment={}, platform="linux", home=self.folder, user=1
        )

    @property
    def source(self) -> PackSource:
        return PackSource(self.places.engines, self.folder, TARGET, this_python(), lambda: self.cap)

    @property
    def used(self) -> EnginePack | None:
        return find_pack(self.places.engines, "cpu").pack

    def take(self, server: Served) -> EnginePack:
        """Ask once and fetch what is offered."""
        source = self.source
        found = source.check(server.url, None)
        assert found.offer is not None, found.sentence
        return source.fetch(found, threading.Event(), lambda have: None)


def offer(mark: str = "", seq: int = 7, **fields: object) -> Publisher:
    return publisher(pack(mark), seq, at=AT, **fields)

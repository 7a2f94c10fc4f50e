"""What the pool remembers of one model: that it holds memory, or that requests wait for it. State without decisions."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from gogrid.ids import Sha256
from gogrid.manifest import ModelManifest
from gogrid.protocol.messages import Progress
from runner.models.residence import Resident
from runner.serving.bring import Brought
from runner.serving.executor_client import ExecutorClient

Report = Callable[[Progress], None]


@dataclass(slots=True, eq=False)
class Entry:
    """A model that holds memory, from the moment on which it is on its way."""

    digest: Sha256
    memory_bytes: int
    last_used: float
    start: asyncio.Task[None] | None = None
    brought: Brought | None = None
    ready_at: float | None = None
    seats: int = 0
    """Requests that are between `use` and its end."""
    giving_way: bool = False

    @property
    def client(self) -> ExecutorClient | None:
        """Once it can serve, and until it ends."""
        return self.brought.client if self.brought is not None and self.brought.client.alive else None

    @property
    def users(self) -> int:
        return self.seats + (self.brought.client.running if self.brought is not None else 0)

    def resident(self) -> Resident:
        return Resident(
            self.digest,
            self.memory_bytes,
            self.users,
            self.last_used,
            self.ready_at,
            self.brought.load_s if self.brought is not None else 0.0,
            self.giving_way,
            closing=self.brought is not None and not self.brought.client.alive,
        )


@dataclass(slots=True, eq=False)
class Wanted:
    """A model that is asked for and cannot serve yet."""

    digest: Sha256
    manifest: ModelManifest
    since: float
    until: float
    progress: Progress
    waiters: dict[asyncio.Future[Entry], Report] = field(default_factory=dict)

    def tell(self, progress: Progress) -> None:
        self.progress = progress
        for report in tuple(self.waiters.values()):
            report(progress)

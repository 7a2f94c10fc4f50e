"""Who waits for models that cannot serve yet.

Promises: all who wait for one model are told the same, and are served together or fail together; a model that was
wanted stays so for a while after the last of them has left, because a client that was told to come back later does.
When there is room for a model, `pool.py` says.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from gogrid.ids import Sha256
from gogrid.manifest import ModelManifest
from gogrid.protocol.job_messages import Progress
from gogrid.protocol.worker_report import LoadingModel, LoadStage
from runner.serving.resident import Entry

_LINGER_S = 15.0
Report = Callable[[Progress], None]


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


class Waiting:
    """Use from one event loop."""

    def __init__(self, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        """`clock`: monotonic seconds. `changed` is called when `loading` is another."""
        self._clock, self._changed = clock, changed
        self._wanted: dict[Sha256, Wanted] = {}

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def __iter__(self) -> Iterator[Wanted]:
        """In the order in which they were first asked for; they may come and go meanwhile."""
        return iter(tuple(self._wanted.values()))

    def __contains__(self, digest: Sha256) -> bool:
        return digest in self._wanted

    def __getitem__(self, digest: Sha256) -> Wanted:
        return self._wanted[digest]

    def has(self, wanted: Wanted) -> bool:
        """Whether this one has been neither served nor failed."""
        return self._wanted.get(wanted.digest) is wanted

    def loading(self, holds: Mapping[Sha256, int]) -> tuple[LoadingModel, ...]:
        """Args: holds: bytes of each model that has its place in memory."""
        return tuple(
            LoadingModel(
                digest=wanted.digest,
                stage=wanted.progress.stage,
                fraction=round(wanted.progress.fraction, 2),
                eta_s=float(round(wanted.progress.eta_s)),
                memory_bytes=holds.get(wanted.digest, 0),
            )
            for wanted in self
        )

    def want(self, digest: Sha256, manifest: ModelManifest) -> Wanted:
        now = self._clock()
        wanted = self._wanted.get(digest)
        if wanted is None:
            progress = Progress(stage=LoadStage.QUEUED, fraction=0.0)
            wanted = self._wanted[digest] = Wanted(digest, manifest, now, now, progress)
        wanted.until = now + _LINGER_S
        return wanted

    def give_up(self, wanted: Wanted) -> bool:
        """Forget a model for which nobody waits any more and nobody came back; whether it is forgotten."""
        if wanted.waiters or self._clock() < wanted.until:
            return False
        del self._wanted[wanted.digest]
        return True

    def serve(self, entry: Entry) -> None:
        """Hand the model to all who wait for it."""
        wanted = self._wanted.pop(entry.digest, None)
        if wanted is not None:
            for seat in wanted.waiters:
                if not seat.done():
                    entry.seats += 1
                    seat.set_result(entry)
            entry.last_used = self._clock()
            self._changed()

    def fail(self, wanted: Wanted, error: Exception) -> None:
        self._wanted.pop(wanted.digest, None)
        for seat in wanted.waiters:
            if not seat.done():
                seat.set_exception(error)
        self._changed()

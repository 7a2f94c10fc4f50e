"""The models that hold memory, each from the moment on which it is on its way; who comes and goes, `pool.py` says."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from gogrid.ids import Sha256
from gogrid.protocol.worker_report import LoadedModel
from runner.models.residence import Resident, Turns, in_turn, is_kept, turn_ends
from runner.serving.bring import Brought
from runner.serving.executor_client import ExecutorClient

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Entry:
    """A model that holds memory."""

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

    def kill(self) -> None:
        """End its process now, whatever it does, or its way into memory."""
        if self.start is not None:
            self.start.cancel()
        if self.brought is not None:
            self.brought.client.kill()

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


class Entries:
    """By digest, in the order in which they came."""

    def __init__(self) -> None:
        self._entries: dict[Sha256, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        """Of those that are there now: entries may come and go meanwhile."""
        return iter(tuple(self._entries.values()))

    def __contains__(self, digest: Sha256) -> bool:
        return digest in self._entries

    def __getitem__(self, digest: Sha256) -> Entry:
        return self._entries[digest]

    def get(self, digest: Sha256) -> Entry | None:
        return self._entries.get(digest)

    def add(self, entry: Entry) -> None:
        self._entries[entry.digest] = entry

    def forget(self, entry: Entry) -> None:
        """It holds memory no more; a newer entry of the same model stays."""
        if self._entries.get(entry.digest) is entry:
            del self._entries[entry.digest]

    def loaded(self, now: float, turns: Turns) -> tuple[LoadedModel, ...]:
        return tuple(
            LoadedModel(
                digest=entry.digest,
                memory_bytes=entry.memory_bytes,
                running=entry.client.running,
                slots=entry.brought.slots,
                giving_way=entry.giving_way,
                kept=in_turn(entry.resident(), now, turns),
            )
            for entry in self
            if entry.client is not None and entry.brought is not None
        )

    @property
    def residents(self) -> list[Resident]:
        return [entry.resident() for entry in self]

    @property
    def memory_held(self) -> int:
        """Bytes."""
        return sum(entry.memory_bytes for entry in self)

    def memory_kept(self, now: float, turns: Turns) -> int:
        """Bytes of models that give way to no script."""
        return sum(entry.memory_bytes for entry in self if is_kept(entry.resident(), now, turns))

    def turn_ends(self, now: float, turns: Turns) -> float | None:
        """When the next turn ends of a model that nobody uses; None: there is none."""
        idle = (resident for resident in self.residents if resident.idle and in_turn(resident, now, turns))
        return min((turn_ends(resident, turns) for resident in idle), default=None)

    def kill_idle(self, memory_bytes: int, now: float, turns: Turns) -> None:
        """Free at least so much now, by killing models that give way to scripts, the longest unused first."""
        idle = [entry for entry in self if not is_kept(entry.resident(), now, turns)]
        for entry in sorted(idle, key=lambda entry: entry.last_used):
            if memory_bytes <= 0:
                return
            log.info("closing model %s: a script needs its memory", entry.digest[:12])
            memory_bytes -= entry.memory_bytes
            entry.kill()

"""Who may connect and what there is, in memory over the store: workers, join tokens, API keys, models.

Look-ups never wait, so a revocation takes effect with the next frame or request. The admin's commands write to the
database beside a running coordinator; `refresh` notices that, reloads, and says what changed for workers. A reload that
failed is made up for by the next `refresh`. Before somebody unknown is refused, `look_again` looks once more.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from coordinator.errors import TokenRefusedError
from coordinator.keyring import Keyring
from coordinator.models.catalogue import Catalogue
from coordinator.records import TokenRecord, WorkerRecord, WorkerStatus
from coordinator.second_look import SecondLook
from coordinator.store.base import Store
from gogrid.ids import JobId, WorkerId, new_worker_id

_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class DirectoryChange:
    """What became different for workers since the last look."""

    revoked: tuple[WorkerId, ...] = ()
    approved: tuple[WorkerId, ...] = ()
    drained: tuple[WorkerId, ...] = ()
    undrained: tuple[WorkerId, ...] = ()
    released: tuple[WorkerId, ...] = ()
    """From quarantine."""

    def __bool__(self) -> bool:
        return bool(self.revoked or self.approved or self.drained or self.undrained or self.released)


Listener = Callable[[DirectoryChange], None]


class Directory:
    """Implements `coordinator.links.Directory`. Make one with `await Directory.load(store, clock)`."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._workers: dict[WorkerId, WorkerRecord] = {}
        self._tokens: dict[str, TokenRecord] = {}
        self._listeners: list[Listener] = []
        self._writes = 0
        self._refreshing = asyncio.Lock()
        self._outdated = False
        self._second_look = SecondLook(self.refresh)
        self.keyring = Keyring()
        self.catalogue = Catalogue()

    @classmethod
    async def load(cls, store: Store, clock: Callable[[], float]) -> "Directory":
        """`clock` is the wall clock, seconds since 1970."""
        directory = cls(store, clock)
        await store.changed_elsewhere()
        await directory.reload()
        return directory

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` after every reload that changed something for workers."""
        self._listeners.append(listener)

    async def refresh(self) -> None:
        """Reload if another process wrote to the database; what was written before the call is known behind it."""
        async with self._refreshing:
            if await self._store.changed_elsewhere():
                self._outdated = True
            if self._outdated:
                await self.reload()
                self._outdated = False

    async def look_again(self) -> None:
        """For somebody who is not known: see `SecondLook.wait`."""
        await self._second_look.wait()

    async def reload(self) -> None:
        """Read everything anew; again if this process wrote meanwhile, for what was read may lack that."""
        while True:
            writes = self._writes
            tokens, workers = await self._store.tokens(), await self._store.workers()
            keys, models = await self._store.keys(), await self._store.models()
            if writes == self._writes:
                break
        self.keyring.replace(keys)
        self.catalogue.replace(models)
        self._tokens = {token.id: token for token in tokens}
        before, self._workers = self._workers, {worker.id: worker for worker in workers}
        change = compare(before, self._workers)
        if change:
            for listener in self._listeners:
                listener(change)

    # --- for the QUIC shell ------------------------------------------------------------------------------------------

    def worker(self, worker_id: WorkerId) -> WorkerRecord | None:
        return self._workers.get(worker_id)

    def workers(self) -> list[WorkerRecord]:
        """Every worker that ever joined, revoked ones too, in the order of joining."""
        return list(self._workers.values())

    def enrolled(self) -> list[WorkerId]:
        """The workers that may work here, connected or not."""
        return [worker.id for worker in self._workers.values() if worker.status is WorkerStatus.APPROVED]

    def token(self, token_id: str) -> TokenRecord | None:
        """As it was when last loaded: whether it is used up is for `redeem` to say."""
        return self._tokens.get(token_id)

    async def redeem(self, token_id: str, public_key: bytes, hostname: str) -> WorkerRecord:
        token = self._tokens.get(token_id)
        if token is None:
            raise TokenRefusedError("This join token is not known here; ask the admin for a new one.")
        now = self._clock()
        newcomer = WorkerRecord(
            id=new_worker_id(),
            name=plain_name(hostname),
            public_key=public_key,
            status=WorkerStatus.PENDING if token.needs_approval else WorkerStatus.APPROVED,
            draining=False,
            session_epoch=0,
            joined_at=now,
            token_id=token_id,
        )
        worker = await self._store.redeem(token_id, newcomer, now)
        self._writes += 1
        self._workers[worker.id] = worker
        return worker

    def know_health(self, worker_id: WorkerId, crashed_jobs: tuple[JobId, ...], quarantined: str) -> None:
        """From now on; `store_health` must follow."""
        known = self._workers.get(worker_id)
        if known is not None:
            self._workers[worker_id] = replace(known, crashed_jobs=crashed_jobs, quarantined=quarantined)

    async def store_health(self, worker_id: WorkerId, crashed_jobs: tuple[JobId, ...], quarantined: str) -> None:
        await self._store.set_worker_health(worker_id, crashed_jobs, quarantined)
        self._writes += 1
        self.know_health(worker_id, crashed_jobs, quarantined)  # a reload may have come between

    async def open_session(self, worker_id: WorkerId) -> int:
        epoch = await self._store.open_session(worker_id)
        self._writes += 1
        known = self._workers.get(worker_id)
        if known is not None:
            self._workers[worker_id] = replace(known, session_epoch=epoch)
        return epoch


def compare(before: dict[WorkerId, WorkerRecord], after: dict[WorkerId, WorkerRecord]) -> DirectoryChange:
    """What a connected worker must be told; a worker that was not known before cannot be connected."""
    both = [(before[worker_id], worker) for worker_id, worker in after.items() if worker_id in before]
    return DirectoryChange(
        revoked=_became(both, WorkerStatus.REVOKED),
        approved=_became(both, WorkerStatus.APPROVED),
        drained=tuple(new.id for old, new in both if new.draining and not old.draining),
        undrained=tuple(new.id for old, new in both if old.draining and not new.draining),
        released=tuple(new.id for old, new in both if old.quarantined and not new.quarantined),
    )


def _became(both: list[tuple[WorkerRecord, WorkerRecord]], status: WorkerStatus) -> tuple[WorkerId, ...]:
    return tuple(new.id for old, new in both if new.status is status and old.status is not status)


def plain_name(hostname: str) -> str:
    """A host name as it may be shown anywhere: printable ASCII without spaces, at most 64 characters."""
    plain = "".join(character if 33 <= ord(character) < 127 else "-" for character in hostname[:_LONGEST_NAME])
    return plain or "worker"

"""Durable jobs put together as the coordinator does it, on clocks that a test holds."""

from collections.abc import Callable

from coordinator.blobs import BlobStore
from coordinator.directory import Directory
from coordinator.dispatch import Dispatcher
from coordinator.durable import Clocks, DurableJobs, DurableLimits
from coordinator.sick_workers import SickWorkers
from coordinator.store.base import Store
from coordinator.tally import Tally


async def durable_jobs(
    dispatcher: Dispatcher,
    store: Store,
    blobs: BlobStore,
    *,
    tally: Tally | None = None,
    directory: Directory | None = None,
    monotonic: Callable[[], float] = lambda: 0.0,
    wall: Callable[[], float] = lambda: 1e9,
    queued: int = 10,
) -> DurableJobs:
    known = directory or await Directory.load(store, wall)
    return DurableJobs(
        dispatcher,
        store,
        blobs,
        known.catalogue,
        SickWorkers(known, dispatcher.set_quarantined),
        DurableLimits(queued),
        tally or Tally(),
        Clocks(monotonic, wall),
    )

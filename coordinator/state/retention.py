"""What the coordinator forgets, and when: ended jobs after their time, and blobs that nothing names any more.

A blob that is younger than an hour stays, named or not: it may belong to a job or model that is being submitted now.
"""

import asyncio
import logging

from coordinator.models.catalogue import blobs_of_job
from coordinator.records import JobKind
from coordinator.state.blobs import BlobStore
from coordinator.store.base import Store

log = logging.getLogger(__name__)

INTERVAL_S = 3600.0
DEAD_KEPT_S = 14 * 86400.0
"""At least: somebody should see what was given up, and may have it tried again."""
_YOUNG_S = 3600.0
_ALL = 1_000_000


async def tidy(store: Store, blobs: BlobStore, model_blobs: frozenset[str], now: float, keep_jobs_s: float) -> int:
    """Forget what is over; returns how many blobs were removed. `now` is the wall clock.

    Raises:
        CoordinatorError: the store refuses.
    """
    forgotten = 0
    while gone := await store.forget(now - keep_jobs_s, now - max(keep_jobs_s, DEAD_KEPT_S)):
        forgotten += gone
    jobs = await store.jobs(None, (), (JobKind.PYTHON,), _ALL)
    named = model_blobs.union(*(blobs_of_job(job) for job in jobs))
    removed = await asyncio.to_thread(blobs.remove_unnamed, named, now - _YOUNG_S)
    if forgotten or removed:
        log.info("forgot %d ended jobs and %d blobs that nothing names", forgotten, removed)
    return removed

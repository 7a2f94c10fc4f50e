"""What crashes say of jobs and of workers: events in, verdicts out; no clock, no store.

A crash is a lease that ended because its worker vanished or froze, or the process that ran it died. A job that crashes
everywhere is poison; a worker on which different jobs crash one after the other is sick. A worker that lost its
coordinator and says so itself when it is back is alive, and the job hardly to blame: see `FENCES_PER_CRASH`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gogrid.ids import JobId, WorkerId

POISON_CRASHES = 3
POISON_WORKERS = 2
POISON_ON_ONE = 5
"""A job is dead after so many crashes on at least two workers, or so many on one."""
FENCES_PER_CRASH = 3
"""So many leases that workers gave up by themselves, for want of a coordinator, count as one crash of the job: it may
be what freezes those machines."""
BACK_OFF_S = (1.0, 5.0, 25.0)
"""Before the second lease, the third, and every later one."""
_JITTER = 0.2
REFUSED_BACK_OFF_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""After so many refusals in a row, and after all later ones."""
SICK_CRASHES = 3
SICK_JOBS = 2
"""A worker is quarantined after so many crashes in a row, of at least two different jobs."""


def is_poison(crashed_on: Sequence[WorkerId]) -> bool:
    """Whether a job is to be given up. `crashed_on`: the worker of each of its crashes."""
    by_worker = Counter(crashed_on)
    return (len(crashed_on) >= POISON_CRASHES and len(by_worker) >= POISON_WORKERS) or any(
        count >= POISON_ON_ONE for count in by_worker.values()
    )


def fence_counts(fences: int) -> bool:
    """Whether a job's `fences`-th fenced lease, from 1 on, is held against it as a crash."""
    return fences % FENCES_PER_CRASH == 0


def back_off_s(crashes: int, jitter: float) -> float:
    """How long a job waits after its `crashes`-th crash, or fenced lease. `jitter`: evenly spread over 0..1."""
    return BACK_OFF_S[min(max(crashes, 1), len(BACK_OFF_S)) - 1] * (1 - _JITTER + 2 * _JITTER * jitter)


def refused_back_off_s(refusals: int) -> float:
    """How long a job waits after workers have refused it so often in a row."""
    return REFUSED_BACK_OFF_S[min(refusals, len(REFUSED_BACK_OFF_S) - 1)]


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """What is remembered of one worker."""

    crashed_jobs: tuple[JobId, ...] = ()
    """Since it last finished one, oldest first."""
    quarantined: str = ""
    """Why it gets nothing, in words; empty: it is well."""


def after_crash(health: WorkerHealth, job_id: JobId, why: str) -> WorkerHealth:
    """One more lease of this worker crashed."""
    crashed = (*health.crashed_jobs, job_id)[-SICK_CRASHES:]
    if health.quarantined or len(crashed) < SICK_CRASHES or len(set(crashed)) < SICK_JOBS:
        return WorkerHealth(crashed, health.quarantined)
    reason = f"{SICK_CRASHES} jobs in a row crashed on it, the last one because: {why.rstrip('.')}"
    return WorkerHealth(crashed, reason)


def absolved(health: WorkerHealth, job_id: JobId) -> WorkerHealth:
    """This job has crashed elsewhere, too: it says nothing of this worker. Only the admin ends a quarantine."""
    return WorkerHealth(tuple(crashed for crashed in health.crashed_jobs if crashed != job_id), health.quarantined)


def after_success(health: WorkerHealth) -> WorkerHealth:
    """It has finished a job. Only the admin ends a quarantine."""
    return WorkerHealth((), health.quarantined)

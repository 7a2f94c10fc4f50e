"""What the store remembers of a job that has just ended, without asking it. Pure.

So a client that waits for its job is answered with the commit, and not after another turn in the database. Refuses
jobs with a history: what became of their earlier leases only the store knows.
"""

from dataclasses import replace

from coordinator.records import JobRecord, Report


def final_record(submitted: JobRecord | None, report: Report) -> JobRecord | None:
    """None: ask the store.

    Args:
        submitted: as the store answered; None: it was not this process that submitted it.
        report: accepted by the store.
    """
    if submitted is None or report.epoch != 1:
        return None
    return replace(
        submitted,
        state=report.outcome.state,
        epoch=1,
        attempts=1,
        worker=report.worker_id,
        started_at=report.began_at,
        finished_at=report.now,
        outcome=report.outcome,
    )

"""The statements about jobs, built once: building one costs more than running it.

Each change of a job is one statement whose condition is its place in `durable/lifecycle.py` and, for what a lease may
do, the lease's epoch.
"""

import sqlalchemy as sa

from coordinator.durable.lifecycle import UNFINISHED, JobEvent, after, before
from coordinator.records import JobState, LeaseEnd
from coordinator.store.many import Many
from coordinator.store.rows import Values
from coordinator.store.sqlite import insert_new
from coordinator.store.tables import job, job_attempt, job_log

FORGET_AT_ONCE = 1000

_the_job = job.c.id == sa.bindparam("the_job")
_died = [end.value for end in LeaseEnd if end.is_crash or end is LeaseEnd.IN_COMPANY]


def _may(event: JobEvent) -> sa.ColumnElement[bool]:
    return sa.or_(*(job.c.state == sa.literal(state.value) for state in before(event)))


def _lease_may(event: JobEvent) -> sa.ColumnElement[bool]:
    return sa.and_(_the_job, job.c.epoch == sa.bindparam("the_epoch"), _may(event))


NEW_COLUMNS = (
    *("id", "owner", "kind", "label", "body_sha256", "created_at", "priority", "result", "error_code", "error"),
    *("task", "idempotency_key", "state", "epoch", "attempts", "worker"),
)
"""What a new job has; the rest comes later in its life."""
_ended: Values = {
    "state": sa.bindparam("to_state"),
    "result": sa.bindparam("to_result"),
    "error_code": sa.bindparam("to_error_code"),
    "error": sa.bindparam("to_error"),
    "finished_at": sa.bindparam("now"),
    "not_before": None,
}
_not_leased: Values = {"state": JobState.QUEUED.value, "worker": None, "started_at": None}

# --- changes ---------------------------------------------------------------------------------------------------------

INSERT = insert_new(job)
CLAIM = (
    sa.update(job)
    .where(_the_job, _may(JobEvent.CLAIM))
    .values(
        state=after(JobEvent.CLAIM).value,
        epoch=job.c.epoch + 1,
        attempts=job.c.attempts + 1,
        worker=sa.bindparam("to_worker"),
        started_at=None,
        not_before=None,
    )
)
CLAIMABLE = sa.select(job.c.id, job.c.epoch).where(
    job.c.id.in_(sa.bindparam("jobs", expanding=True)), _may(JobEvent.CLAIM)
)
COMPLETABLE = sa.select(job.c.id, job.c.epoch, job.c.worker).where(
    job.c.id.in_(sa.bindparam("jobs", expanding=True)), _may(JobEvent.COMPLETE)
)
BEGIN = (
    sa.update(job)
    .where(_lease_may(JobEvent.BEGIN))
    .values(state=after(JobEvent.BEGIN).value, started_at=sa.func.coalesce(job.c.started_at, sa.bindparam("began_at")))
)
COMPLETE = (
    sa.update(job)
    .where(_lease_may(JobEvent.COMPLETE), job.c.worker == sa.bindparam("the_worker"))
    .values(
        _ended
        | {
            "outcome_epoch": job.c.epoch,
            "started_at": sa.func.coalesce(job.c.started_at, sa.bindparam("began_at")),
        }
    )
)
RECORD_ATTEMPT = sa.insert(job_attempt).from_select(
    ["job_id", "epoch", "worker", "started_at", "ended_at", "ended", "why"],
    sa.select(
        job.c.id,
        job.c.epoch,
        job.c.worker,
        job.c.started_at,
        sa.bindparam("now", type_=job.c.created_at.type),
        sa.bindparam("how", type_=sa.Text()),
        sa.bindparam("why", type_=sa.Text()),
    ).where(_lease_may(JobEvent.GIVE_BACK)),
)
GIVE_BACK = (
    sa.update(job)
    .where(_lease_may(JobEvent.GIVE_BACK))
    .values(
        _not_leased
        | {
            "not_before": sa.bindparam("to_not_before"),
            "crashes": job.c.crashes + sa.bindparam("more_crashes"),
            "attempts": job.c.attempts - sa.bindparam("not_tried"),
        }
    )
)
BURY = sa.update(job).where(_lease_may(JobEvent.BURY)).values(_ended | {"crashes": job.c.crashes + 1})
CANCEL = sa.update(job).where(_the_job, _may(JobEvent.CANCEL)).values(_ended).returning(job)
FAIL = sa.update(job).where(_the_job, _may(JobEvent.FAIL)).values(_ended)
REVIVE = (
    sa.update(job)
    .where(_the_job, _may(JobEvent.REVIVE), job.c.task.is_not(None))
    .values(
        _not_leased
        | {
            "crashes": 0,
            "not_before": None,
            "finished_at": None,
            "outcome_epoch": None,
            "result": b"",
            "error_code": "",
            "error": "",
        }
    )
    .returning(job)
)
FORGET = sa.delete(job).where(
    job.c.seq.in_(
        sa.select(job.c.seq)
        .where(
            _may(JobEvent.FORGET),
            job.c.finished_at
            < sa.case((job.c.state == JobState.DEAD.value, sa.bindparam("dead_before")), else_=sa.bindparam("before")),
        )
        .limit(FORGET_AT_ONCE)
    )
)
INSERT_LINE = insert_new(job_log)
INSERT_NEW = Many(insert_new(job).values({name: sa.bindparam(name) for name in NEW_COLUMNS}))
INSERT_MANY = Many(sa.insert(job).values({name: sa.bindparam(name) for name in NEW_COLUMNS}))
CLAIM_MANY = Many(CLAIM)
COMPLETE_MANY = Many(COMPLETE)

# --- questions -------------------------------------------------------------------------------------------------------

SAME_REQUEST = sa.select(job).where(
    job.c.owner == sa.bindparam("the_owner"), job.c.idempotency_key == sa.bindparam("the_key")
)
REPORTED = sa.select(job.c.id).where(
    _the_job, job.c.outcome_epoch == sa.bindparam("the_epoch"), job.c.worker == sa.bindparam("the_worker")
)
FIND = sa.select(job).where(_the_job)
ALL_UNFINISHED = sa.select(job).where(job.c.state.in_([state.value for state in UNFINISHED])).order_by(job.c.seq)
CRASHES_OF_UNFINISHED = (
    sa.select(job_attempt.c.job_id, job_attempt.c.worker, job_attempt.c.ended)
    .join(job, job.c.id == job_attempt.c.job_id)
    .where(
        job.c.state.in_([state.value for state in UNFINISHED]),
        job_attempt.c.ended.in_(_died),
    )
    .order_by(job_attempt.c.job_id, job_attempt.c.epoch)
)
ATTEMPTS = sa.select(job_attempt).where(job_attempt.c.job_id == sa.bindparam("the_job")).order_by(job_attempt.c.epoch)
EPOCHS = sa.select(job.c.id, job.c.epoch).where(job.c.id.in_(sa.bindparam("jobs", expanding=True)))
EPOCH = sa.select(job.c.epoch).where(_the_job)
LINES = (
    sa.select(job_log)
    .where(
        job_log.c.job_id == sa.bindparam("the_job"),
        job_log.c.epoch == sa.bindparam("the_epoch"),
        job_log.c.seq > sa.bindparam("after"),
    )
    .order_by(job_log.c.seq)
    .limit(sa.bindparam("at_most"))
)

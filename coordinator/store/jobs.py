"""Statements about jobs: every change is one statement, fenced by state and epoch."""

from collections.abc import Sequence

import sqlalchemy as sa

from coordinator.errors import ConflictError, NotFoundError
from coordinator.records import Completion, JobKind, JobOutcome, JobRecord, JobState, LogLine, NewJob
from coordinator.store.behind import PendingLines, PendingRequest
from coordinator.store.rows import Values, encode_task, job_record, log_line
from coordinator.store.sqlite import insert_new
from coordinator.store.tables import job, job_log
from gogrid.ids import JobId, KeyId, WorkerId

_LEASED = (JobState.LEASED.value, JobState.RUNNING.value)
_ALIVE = (JobState.QUEUED.value, *_LEASED)
_FORGET_AT_ONCE = 1000

# --- the statements, built once: building one costs more than running it ---------------------------------------------

_the_job = job.c.id == sa.bindparam("the_job")
_this_lease = sa.and_(_the_job, job.c.epoch == sa.bindparam("the_epoch"), job.c.state.in_(_LEASED))
_back_in_queue = {"state": JobState.QUEUED.value, "worker": None, "started_at": None}
_ended: Values = {
    "state": sa.bindparam("to_state"),
    "result": sa.bindparam("to_result"),
    "error_code": sa.bindparam("to_error_code"),
    "error": sa.bindparam("to_error"),
    "finished_at": sa.bindparam("now"),
}

_INSERT = insert_new(job).returning(job)
_SAME_REQUEST = sa.select(job).where(
    job.c.owner == sa.bindparam("the_owner"), job.c.idempotency_key == sa.bindparam("the_key")
)
_FIND = sa.select(job).where(_the_job)
_QUEUED = sa.select(job).where(job.c.state == JobState.QUEUED.value).order_by(job.c.seq)
_RECOVER = sa.update(job).where(job.c.state.in_(_LEASED)).values(_back_in_queue)
_CLAIM = (
    sa.update(job)
    .where(_the_job, job.c.state == JobState.QUEUED.value)
    .values(
        state=JobState.LEASED.value,
        epoch=job.c.epoch + 1,
        attempts=job.c.attempts + 1,
        worker=sa.bindparam("to_worker"),
        started_at=None,
    )
    .returning(job.c.epoch)
)
_MARK_RUNNING = (
    sa.update(job)
    .where(_this_lease)
    .values(state=JobState.RUNNING.value, started_at=sa.func.coalesce(job.c.started_at, sa.bindparam("now")))
)
_COMPLETE = (
    sa.update(job)
    .where(_this_lease, job.c.worker == sa.bindparam("the_worker"))
    .values(_ended | {"outcome_epoch": job.c.epoch})
)
_REPORTED = sa.select(job.c.id).where(
    _the_job, job.c.outcome_epoch == sa.bindparam("the_epoch"), job.c.worker == sa.bindparam("the_worker")
)
_REQUEUE = sa.update(job).where(_this_lease).values(_back_in_queue)
_CANCEL = sa.update(job).where(_the_job, job.c.state.in_(_ALIVE)).values(_ended).returning(job)
_FAIL = sa.update(job).where(_the_job, job.c.state == JobState.QUEUED.value).values(_ended)
_FORGET = sa.delete(job).where(
    job.c.seq.in_(sa.select(job.c.seq).where(job.c.finished_at < sa.bindparam("before")).limit(_FORGET_AT_ONCE))
)
_INSERT_REQUEST = insert_new(job)
_INSERT_LINE = insert_new(job_log)
_EPOCHS = sa.select(job.c.id, job.c.epoch).where(job.c.id.in_(sa.bindparam("jobs", expanding=True)))
_EPOCH = sa.select(job.c.epoch).where(_the_job)
_LINES = (
    sa.select(job_log)
    .where(
        job_log.c.job_id == sa.bindparam("the_job"),
        job_log.c.epoch == sa.bindparam("the_epoch"),
        job_log.c.seq > sa.bindparam("after"),
    )
    .order_by(job_log.c.seq)
    .limit(sa.bindparam("at_most"))
)

# --- the verbs -------------------------------------------------------------------------------------------------------


def submit(connection: sa.Connection, new: NewJob) -> tuple[JobRecord, bool]:
    values = _values(new) | {"task": encode_task(new.task), "idempotency_key": new.idempotency_key}
    inserted = connection.execute(_INSERT, values).mappings().one_or_none()
    if inserted is not None:
        return job_record(inserted), True
    same = {"the_owner": new.owner, "the_key": new.idempotency_key}
    found = connection.execute(_SAME_REQUEST, same).mappings().one_or_none()
    if found is None:
        raise ConflictError(f"There is already a job {new.id}.")
    if found["body_sha256"] != new.body_sha256:
        raise ConflictError("This idempotency key was used with another request; use a new key for a new request.")
    return job_record(found), False


def recover(connection: sa.Connection) -> list[JobRecord]:
    connection.execute(_RECOVER)
    return [job_record(row) for row in connection.execute(_QUEUED).mappings()]


def claim(connection: sa.Connection, job_id: JobId, worker_id: WorkerId) -> int | None:
    claimed = connection.execute(_CLAIM, {"the_job": job_id, "to_worker": worker_id})
    epoch: int | None = claimed.scalar_one_or_none()
    return epoch


def mark_running(connection: sa.Connection, job_id: JobId, epoch: int, now: float) -> bool:
    return bool(connection.execute(_MARK_RUNNING, {"the_job": job_id, "the_epoch": epoch, "now": now}).rowcount)


def complete(
    connection: sa.Connection, job_id: JobId, epoch: int, worker_id: WorkerId, outcome: JobOutcome, now: float
) -> Completion:
    lease = {"the_job": job_id, "the_epoch": epoch, "the_worker": worker_id}
    if connection.execute(_COMPLETE, lease | _ending(outcome, now)).rowcount:
        return Completion.ACCEPTED
    return Completion.FENCED if connection.execute(_REPORTED, lease).first() is None else Completion.ALREADY


def requeue(connection: sa.Connection, job_id: JobId, epoch: int) -> bool:
    return bool(connection.execute(_REQUEUE, {"the_job": job_id, "the_epoch": epoch}).rowcount)


def cancel(connection: sa.Connection, job_id: JobId, now: float) -> JobRecord:
    ending = _ending(JobOutcome(JobState.CANCELLED), now)
    row = connection.execute(_CANCEL, {"the_job": job_id} | ending).mappings().one_or_none()
    if row is not None:
        return job_record(row)
    ended = find(connection, job_id)
    if ended is None:
        raise NotFoundError(f"There is no job {job_id}.")
    return ended


def fail(connection: sa.Connection, job_id: JobId, outcome: JobOutcome, now: float) -> bool:
    return bool(connection.execute(_FAIL, {"the_job": job_id} | _ending(outcome, now)).rowcount)


def find(connection: sa.Connection, job_id: JobId) -> JobRecord | None:
    row = connection.execute(_FIND, {"the_job": job_id}).mappings().one_or_none()
    return None if row is None else job_record(row)


def newest(
    connection: sa.Connection,
    owner: KeyId | None,
    states: Sequence[JobState],
    kinds: Sequence[JobKind],
    limit: int,
) -> list[JobRecord]:
    wanted = sa.select(job).order_by(job.c.seq.desc()).limit(limit)
    if owner is not None:
        wanted = wanted.where(job.c.owner == owner)
    if states:
        wanted = wanted.where(job.c.state.in_([state.value for state in states]))
    if kinds:
        wanted = wanted.where(job.c.kind.in_([kind.value for kind in kinds]))
    return [job_record(row) for row in connection.execute(wanted).mappings()]


def forget(connection: sa.Connection, before: float) -> int:
    return int(connection.execute(_FORGET, {"before": before}).rowcount)


# --- written behind --------------------------------------------------------------------------------------------------


def write_behind(connection: sa.Connection, requests: Sequence[PendingRequest], lines: Sequence[PendingLines]) -> None:
    """Requests already known and lines of an epoch that is over are left out."""
    if requests:
        connection.execute(_INSERT_REQUEST, [_request_values(request) for request in requests])
    if not lines:
        return
    found = connection.execute(_EPOCHS, {"jobs": list({pending.job_id for pending in lines})})
    current = {row.id: row.epoch for row in found}
    rows = [
        {"job_id": pending.job_id, "epoch": pending.epoch, "seq": line.seq, "stream": line.stream, "data": line.data}
        for pending in lines
        if current.get(pending.job_id) == pending.epoch
        for line in pending.lines
    ]
    if rows:
        connection.execute(_INSERT_LINE, rows)


def logs(connection: sa.Connection, job_id: JobId, after: int, limit: int) -> tuple[int | None, list[LogLine]]:
    """The job's current epoch, None without such a job, and its stored lines."""
    epoch: int | None = connection.execute(_EPOCH, {"the_job": job_id}).scalar_one_or_none()
    if epoch is None:
        return None, []
    wanted = {"the_job": job_id, "the_epoch": epoch, "after": after, "at_most": limit}
    return epoch, [log_line(row) for row in connection.execute(_LINES, wanted).mappings()]


# --- values ----------------------------------------------------------------------------------------------------------


def _values(new: NewJob) -> Values:
    return {
        "id": new.id,
        "owner": new.owner,
        "kind": new.kind.value,
        "label": new.label,
        "body_sha256": new.body_sha256,
        "state": JobState.QUEUED.value,
        "epoch": 0,
        "attempts": 0,
        "created_at": new.created_at,
        "priority": new.priority,
        "result": b"",
        "error_code": "",
        "error": "",
    }


def _ending(outcome: JobOutcome, now: float) -> Values:
    if not outcome.state.final:
        raise ValueError(f"a job cannot end as {outcome.state.value}")
    return {
        "to_state": outcome.state.value,
        "to_result": outcome.result,
        "to_error_code": outcome.error_code,
        "to_error": outcome.error,
        "now": now,
    }


def _request_values(request: PendingRequest) -> Values:
    return _values(request.job) | {
        "state": request.outcome.state.value,
        "result": request.outcome.result,
        "error_code": request.outcome.error_code,
        "error": request.outcome.error,
        "worker": request.worker,
        "epoch": 1,
        "attempts": 1,
        "started_at": request.job.created_at,
        "finished_at": request.finished_at,
    }

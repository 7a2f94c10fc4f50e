"""What happens to jobs in the database: every change is one statement, fenced by state and epoch."""

from collections.abc import Sequence

import sqlalchemy as sa

from coordinator.errors import ConflictError, NotFoundError
from coordinator.records import (
    Attempt,
    Completion,
    JobOutcome,
    JobRecord,
    JobState,
    LeaseEnd,
    LogLine,
    NewJob,
    Report,
    UnfinishedJob,
)
from coordinator.store import job_statements as statements
from coordinator.store.behind import PendingLines, PendingRequest
from coordinator.store.rows import Values, attempt_record, encode_task, job_record, log_line
from gogrid.ids import JobId, WorkerId

# --- the life of a job -----------------------------------------------------------------------------------------------


def submit(connection: sa.Connection, wanted: Sequence[tuple[NewJob, WorkerId | None]]) -> list[tuple[JobRecord, bool]]:
    """All or, by an exception, none."""
    if len(wanted) > 1 and all(new.idempotency_key is None for new, _ in wanted):
        statements.INSERT_MANY.run(connection, [_new_values(new, worker) for new, worker in wanted])
        return [(_new_record(new, worker), True) for new, worker in wanted]
    return [_submit_one(connection, new, worker) for new, worker in wanted]


def _submit_one(connection: sa.Connection, new: NewJob, worker: WorkerId | None) -> tuple[JobRecord, bool]:
    if statements.INSERT_NEW.run(connection, [_new_values(new, worker)]):
        return _new_record(new, worker), True
    same = {"the_owner": new.owner, "the_key": new.idempotency_key}
    found = connection.execute(statements.SAME_REQUEST, same).mappings().one_or_none()
    if found is None:
        raise ConflictError(f"There is already a job {new.id}.")
    if found["body_sha256"] != new.body_sha256:
        raise ConflictError("This idempotency key was used with another request; use a new key for a new request.")
    return job_record(found), False


def claim(connection: sa.Connection, wanted: Sequence[tuple[JobId, WorkerId]]) -> list[int | None]:
    """The new epoch of each; None: it is no longer queued."""
    found = connection.execute(statements.CLAIMABLE, {"jobs": [job_id for job_id, _ in wanted]})
    epochs = {row.id: row.epoch + 1 for row in found}
    claimed = [(epochs.pop(job_id, None), job_id, worker) for job_id, worker in wanted]  # the first of two gets it
    leases = [{"the_job": job_id, "to_worker": worker} for epoch, job_id, worker in claimed if epoch is not None]
    if leases:
        statements.CLAIM_MANY.run(connection, leases)
    return [epoch for epoch, _, _ in claimed]


def mark_running(connection: sa.Connection, job_id: JobId, epoch: int, now: float) -> bool:
    lease = {"the_job": job_id, "the_epoch": epoch, "began_at": now}
    return bool(connection.execute(statements.BEGIN, lease).rowcount)


def complete(connection: sa.Connection, reports: Sequence[Report]) -> list[Completion]:
    """What became of each report."""
    found = connection.execute(statements.COMPLETABLE, {"jobs": [report.job_id for report in reports]})
    leases = {(row.id, row.epoch, row.worker) for row in found}
    accepted: list[Report] = []
    completions: list[Completion] = []
    for report in reports:
        lease = (report.job_id, report.epoch, report.worker_id)
        if lease in leases:
            leases.discard(lease)  # the first of two counts
            accepted.append(report)
            completions.append(Completion.ACCEPTED)
        else:
            known = connection.execute(statements.REPORTED, _lease_of(report)).first()
            told = known is not None or lease in {(r.job_id, r.epoch, r.worker_id) for r in accepted}
            completions.append(Completion.ALREADY if told else Completion.FENCED)
    if accepted:
        statements.COMPLETE_MANY.run(
            connection, [_lease_of(report) | _ending(report.outcome, report.now) for report in accepted]
        )
    return completions


def _lease_of(report: Report) -> Values:
    return {
        "the_job": report.job_id,
        "the_epoch": report.epoch,
        "the_worker": report.worker_id,
        "began_at": report.began_at,
    }


def give_back(
    connection: sa.Connection,
    job_id: JobId,
    epoch: int,
    end: LeaseEnd,
    why: str,
    now: float,
    not_before: float | None,
) -> bool:
    lease = {"the_job": job_id, "the_epoch": epoch}
    _record_attempt(connection, job_id, epoch, end, why, now)
    back = {"to_not_before": not_before, "more_crashes": int(end.is_crash), "not_tried": int(end is LeaseEnd.REFUSED)}
    return bool(connection.execute(statements.GIVE_BACK, lease | back).rowcount)


def bury(
    connection: sa.Connection, job_id: JobId, epoch: int, end: LeaseEnd, why: str, outcome: JobOutcome, now: float
) -> bool:
    _record_attempt(connection, job_id, epoch, end, why, now)
    lease = {"the_job": job_id, "the_epoch": epoch}
    return bool(connection.execute(statements.BURY, lease | _ending(outcome, now)).rowcount)


def cancel(connection: sa.Connection, job_id: JobId, now: float) -> JobRecord:
    ending = _ending(JobOutcome(JobState.CANCELLED), now)
    row = connection.execute(statements.CANCEL, {"the_job": job_id} | ending).mappings().one_or_none()
    if row is not None:
        return job_record(row)
    ended = find(connection, job_id)
    if ended is None:
        raise NotFoundError(f"There is no job {job_id}.")
    return ended


def fail(connection: sa.Connection, job_id: JobId, outcome: JobOutcome, now: float) -> bool:
    return bool(connection.execute(statements.FAIL, {"the_job": job_id} | _ending(outcome, now)).rowcount)


def revive(connection: sa.Connection, job_id: JobId) -> JobRecord:
    row = connection.execute(statements.REVIVE, {"the_job": job_id}).mappings().one_or_none()
    if row is not None:
        return job_record(row)
    found = find(connection, job_id)
    if found is None:
        raise NotFoundError(f"There is no job {job_id}.")
    if found.task is None:
        raise ConflictError("This was a request that somebody waited for, and its text is not kept: ask again.")
    raise ConflictError(f"Only a dead or failed job can be tried again; this one is {found.state.value}.")


def forget(connection: sa.Connection, before: float, dead_before: float) -> int:
    return int(connection.execute(statements.FORGET, {"before": before, "dead_before": dead_before}).rowcount)


# --- questions -------------------------------------------------------------------------------------------------------


def unfinished(connection: sa.Connection) -> list[UnfinishedJob]:
    crashed_on: dict[str, list[WorkerId]] = {}
    alone: set[str] = set()
    for row in connection.execute(statements.CRASHES_OF_UNFINISHED):
        end = LeaseEnd(row.ended)
        if end.is_crash:
            crashed_on.setdefault(row.job_id, []).append(WorkerId(row.worker))
        if end is not LeaseEnd.VANISHED:
            alone.add(row.job_id)
    records = [job_record(row) for row in connection.execute(statements.ALL_UNFINISHED).mappings()]
    return [
        UnfinishedJob(
            record,
            tuple(crashed_on.get(record.id, ())[-record.crashes :]) if record.crashes else (),
            record.id in alone,
        )
        for record in records
    ]


def find(connection: sa.Connection, job_id: JobId) -> JobRecord | None:
    row = connection.execute(statements.FIND, {"the_job": job_id}).mappings().one_or_none()
    return None if row is None else job_record(row)


def attempts(connection: sa.Connection, job_id: JobId) -> list[Attempt]:
    rows = connection.execute(statements.ATTEMPTS, {"the_job": job_id})
    return [attempt_record(row) for row in rows.mappings()]


# --- written behind --------------------------------------------------------------------------------------------------


def write_behind(connection: sa.Connection, requests: Sequence[PendingRequest], lines: Sequence[PendingLines]) -> None:
    """Requests already known and lines of an epoch that is over are left out."""
    if requests:
        connection.execute(statements.INSERT, [_request_values(request) for request in requests])
    if not lines:
        return
    found = connection.execute(statements.EPOCHS, {"jobs": list({pending.job_id for pending in lines})})
    current = {row.id: row.epoch for row in found}
    rows = [
        {"job_id": pending.job_id, "epoch": pending.epoch, "seq": line.seq, "stream": line.stream, "data": line.data}
        for pending in lines
        if current.get(pending.job_id) == pending.epoch
        for line in pending.lines
    ]
    if rows:
        connection.execute(statements.INSERT_LINE, rows)


def logs(connection: sa.Connection, job_id: JobId, after: int, limit: int) -> tuple[int | None, list[LogLine]]:
    """The job's current epoch, None without such a job, and its stored lines."""
    epoch: int | None = connection.execute(statements.EPOCH, {"the_job": job_id}).scalar_one_or_none()
    if epoch is None:
        return None, []
    wanted = {"the_job": job_id, "the_epoch": epoch, "after": after, "at_most": limit}
    return epoch, [log_line(row) for row in connection.execute(statements.LINES, wanted).mappings()]


# --- values ----------------------------------------------------------------------------------------------------------


def _record_attempt(connection: sa.Connection, job_id: JobId, epoch: int, end: LeaseEnd, why: str, now: float) -> None:
    """Leases that never began are not worth a row: a worker that refuses may be asked for ever."""
    if end.is_recorded:
        values = {"the_job": job_id, "the_epoch": epoch, "now": now, "how": end.value, "why": why}
        connection.execute(statements.RECORD_ATTEMPT, values)


def _new_values(new: NewJob, worker: WorkerId | None) -> Values:
    leased = worker is not None
    return _values(new) | {
        "task": encode_task(new.task),
        "idempotency_key": new.idempotency_key,
        "state": (JobState.LEASED if leased else JobState.QUEUED).value,
        "epoch": int(leased),
        "attempts": int(leased),
        "worker": worker,
    }


def _new_record(new: NewJob, worker: WorkerId | None) -> JobRecord:
    leased = worker is not None
    return JobRecord(
        id=new.id,
        owner=new.owner,
        kind=new.kind,
        label=new.label,
        state=JobState.LEASED if leased else JobState.QUEUED,
        epoch=int(leased),
        worker=worker,
        attempts=int(leased),
        created_at=new.created_at,
        started_at=None,
        finished_at=None,
        task=new.task,
        outcome=None,
        priority=new.priority,
    )


def _values(new: NewJob) -> Values:
    return {
        "id": new.id,
        "owner": new.owner,
        "kind": new.kind.value,
        "label": new.label,
        "body_sha256": new.body_sha256,
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

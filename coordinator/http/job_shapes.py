"""A job as it is shown: what `/api/v1/jobs` gives. Pure. Points in time are seconds since 1970, spans are seconds."""

from collections.abc import Callable, Sequence

import msgspec

from coordinator.records import Attempt, JobKind, JobRecord, decode_result
from coordinator.tickets import Waiting
from gogrid.ids import WorkerId
from gogrid.protocol.job_messages import PythonDone, PythonEnd

NameOf = Callable[[WorkerId], str]


class FileShape(msgspec.Struct, frozen=True):
    name: str
    size: int
    sha256: str


class ResultShape(msgspec.Struct, frozen=True):
    exit_code: int
    """The script's own, or 128 + the signal that ended it."""
    ended: PythonEnd
    detail: str
    files: list[FileShape]
    logs_truncated: bool
    signal: str = ""
    """With `crashed`: `SIGSEGV`."""


class JobErrorShape(msgspec.Struct, frozen=True):
    code: str
    message: str


class AttemptShape(msgspec.Struct, frozen=True):
    """One lease that ended without a result."""

    epoch: int
    worker: str
    worker_name: str
    started_at: float | None
    ended_at: float
    ended: str
    """`crashed`, `errored`, `crashed_in_company`, `vanished`, `fenced`, `yielded` or `owner_returned`."""
    why: str


class JobShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: str
    label: str
    state: str
    owner: str
    """Id of the key that submitted it."""
    priority: int
    worker: str | None
    worker_name: str | None
    epoch: int
    attempts: int
    """How many workers were given it so far."""
    crashes: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    not_before: float | None
    """It crashed and is not tried again before then."""
    queue_position: int | None
    """How many jobs are expected to be placed before it; null: not waiting."""
    estimated_start_s: float | None
    """Until it is placed, as jobs that need the same have ended of late; null: not waiting, or too few have ended."""
    waiting_for: list[str]
    """Why it waits, one reason for each worker."""
    history: list[AttemptShape] | None
    """Its leases that ended without a result, oldest first; null in lists."""
    result: ResultShape | None
    """Of a Python job that is done; other kinds: `/api/v1/jobs/{id}/result`."""
    error: JobErrorShape | None
    object: str = "job"


class JobListShape(msgspec.Struct, frozen=True):
    data: list[JobShape]
    has_more: bool
    """Whether there are older ones: ask again with `after` the id of the last."""
    object: str = "list"


class BulkShape(msgspec.Struct, frozen=True):
    ids: list[str]
    """One for each line, in order."""
    new: bool
    """False: the same `Idempotency-Key` had brought them before."""
    object: str = "bulk"


class LogShape(msgspec.Struct, frozen=True):
    """The data of a `log` event; its event id is `seq`, which counts from 1."""

    seq: int
    stream: str
    data: bytes
    """Base64 in JSON: the raw bytes the script wrote."""


def job_shape(
    record: JobRecord, waiting: Waiting | None, name_of: NameOf, attempts: Sequence[Attempt] | None = None
) -> JobShape:
    outcome = record.outcome
    return JobShape(
        id=record.id,
        kind=record.kind.value,
        label=record.label,
        state=record.state.value,
        owner=record.owner,
        priority=record.priority,
        worker=record.worker,
        worker_name=name_of(record.worker) if record.worker is not None else None,
        epoch=record.epoch,
        attempts=record.attempts,
        crashes=record.crashes,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        not_before=record.not_before,
        queue_position=waiting.position if waiting is not None else None,
        estimated_start_s=_rounded(waiting.starts_in_s) if waiting is not None else None,
        waiting_for=list(waiting.reasons) if waiting is not None else [],
        history=None if attempts is None else [_attempt(attempt, name_of) for attempt in attempts],
        result=_result(record),
        error=JobErrorShape(outcome.error_code, outcome.error) if outcome and outcome.error_code else None,
    )


def python_result(record: JobRecord) -> PythonDone | None:
    """What a Python job left, once it is done."""
    if record.kind is not JobKind.PYTHON or record.outcome is None or not record.outcome.result:
        return None
    result = decode_result(record.outcome.result)
    return result if isinstance(result, PythonDone) else None


def _rounded(seconds: float | None) -> float | None:
    """An estimate is not more exact than this."""
    return None if seconds is None else round(seconds, 1)


def _attempt(attempt: Attempt, name_of: NameOf) -> AttemptShape:
    return AttemptShape(
        epoch=attempt.epoch,
        worker=attempt.worker,
        worker_name=name_of(attempt.worker),
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        ended=attempt.ended.value,
        why=attempt.why,
    )


def _result(record: JobRecord) -> ResultShape | None:
    done = python_result(record)
    return None if done is None else result_shape(done)


def result_shape(done: PythonDone) -> ResultShape:
    files = [FileShape(file.name, file.size, file.sha256) for file in done.files]
    return ResultShape(done.exit_code, done.ended, done.detail, files, done.logs_truncated, done.signal)

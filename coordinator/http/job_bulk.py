"""`POST /api/v1/jobs/bulk`: many jobs as JSON Lines, in one commit.

Promises: all of them or none; what is wrong is told by the numbers of the lines, which count from 1; the other requests
of the coordinator have their turn meanwhile. One `Idempotency-Key` is for the whole: the first line has it as it is, so
that it meets the same key of a single job in the store, and the others have it with their number.
"""

import asyncio
import hashlib

from litestar.types import HTTPScope, Receive

from coordinator.errors import CoordinatorError, JobFailedError, NotFoundError, RequestError
from coordinator.http.asgi import header, read_body, refuse_encoding
from coordinator.http.auth import key_of
from coordinator.http.errors import HttpRefusal
from coordinator.http.job_intake import Checked, Intake, idempotency_key, require_priority
from coordinator.http.job_schema import parse_job
from coordinator.http.services import Services
from coordinator.records import KeyRecord
from coordinator.records import Scope as KeyScope
from coordinator.tickets import Submission
from gogrid.ids import JobId

_TYPES = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines", "application/json")
_SHOWN = 5
"""So many wrong lines are told of."""
_AT_ONCE = 100
"""So many lines are looked at in one turn of the event loop."""
_SEPARATOR = "\x1f"
"""Between a bulk's key and a line's number; no `Idempotency-Key` can hold it."""


async def submit_bulk(
    services: Services, key: KeyRecord, scope: HTTPScope, receive: Receive
) -> tuple[list[JobId], bool]:
    """The ids in the order of the lines; False if the same key had brought them before.

    Raises:
        RequestError: one or more lines cannot be taken; names each.
        ScopeError: a line asks for what the key may not have.
        KeyLimitError, QueueFullError, ConflictError: as for one job.
    """
    once = idempotency_key(scope["headers"])
    body = await _read(services, scope, receive)
    intake = Intake(services)
    lines = _lines(body, services)
    jobs = await _checked(intake, lines)
    for (number, _), job in zip(lines, jobs, strict=True):
        require_priority(key, job.request, number)
    if any(job.model is not None for job in jobs):
        key_of(scope, KeyScope.INFERENCE)
    digest = hashlib.sha256(body).hexdigest()
    submissions: list[Submission] = []
    keys = [f"{once}{_SEPARATOR}{at}" if once and at else once for at in range(len(jobs))]
    for begin in range(0, len(jobs), _AT_ONCE):
        some = list(zip(jobs[begin : begin + _AT_ONCE], keys[begin : begin + _AT_ONCE], strict=True))
        submissions += await _submissions(intake, some, digest)
        await asyncio.sleep(0)
    accepted = await services.jobs.submit_all(key, submissions)
    return [record.id for record, _ in accepted], accepted[0][1]


async def _submissions(intake: Intake, jobs: list[tuple[Checked, str | None]], digest: str) -> list[Submission]:
    """Of each job with its key. The files of scripts are stored side by side."""
    scripts = await asyncio.gather(*(intake.script(job, once, digest) for job, once in jobs if job.model is None))
    stored = iter(scripts)
    return [next(stored) if job.model is None else intake.request(job, job.model, once, digest) for job, once in jobs]


async def _read(services: Services, scope: HTTPScope, receive: Receive) -> bytes:
    headers, limits = scope["headers"], services.limits
    kind = (header(headers, b"content-type") or _TYPES[0]).split(";", 1)[0].strip().lower()
    if kind not in _TYPES:
        raise HttpRefusal(
            415, f"The body must be JSON Lines ({_TYPES[0]}), not {kind[:80]!r}.", "unsupported_media_type"
        )
    refuse_encoding(headers)
    return await read_body(headers, receive, limits.bulk_bytes, limits)


def _lines(body: bytes, services: Services) -> list[tuple[int, bytes]]:
    """The lines that hold something, with their numbers."""
    limits = services.limits
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    if not lines:
        raise RequestError("The body holds no job: send one JSON object a line.", None, "invalid_value")
    if len(lines) > limits.bulk_jobs:
        raise RequestError(
            f"A bulk may have {limits.bulk_jobs} jobs, not {len(lines)}: send several.", None, "too_many_jobs"
        )
    for number, line in lines:
        if len(line) > limits.json_bytes:
            raise RequestError(
                f"Line {number} has {len(line)} bytes; one job may have {limits.json_bytes}.",
                f"line {number}",
                "request_too_large",
            )
    return lines


async def _checked(intake: Intake, lines: list[tuple[int, bytes]]) -> list[Checked]:
    """Every line, looked at before any file is stored."""
    wrong: list[tuple[int, CoordinatorError]] = []
    checked: list[Checked] = []
    for at, (number, line) in enumerate(lines):
        try:
            checked.append(intake.check(parse_job(line), []))
        except (RequestError, NotFoundError, JobFailedError) as error:
            wrong.append((number, error))
        if at % _AT_ONCE == 0:
            await asyncio.sleep(0)
    if wrong:
        raise _wrong(wrong, len(lines))
    return checked


def _wrong(wrong: list[tuple[int, CoordinatorError]], lines: int) -> RequestError:
    told = "; ".join(f"line {number}: {str(error).rstrip('.')}" for number, error in wrong[:_SHOWN])
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    first, error = wrong[0]
    code = error.code if isinstance(error, RequestError | JobFailedError) else "model_not_found"
    message = f"No job was taken, for {len(wrong)} of {lines} cannot be: {told}{more}."
    return RequestError(message, f"line {first}", code)

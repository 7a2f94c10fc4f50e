"""`/api/v1/jobs…`: durable jobs, scripts and requests for models."""

import asyncio
import re
from typing import Annotated
from urllib.parse import quote

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from coordinator.errors import NotFoundError
from coordinator.http.asgi import (
    JSON,
    AnyRequest,
    LeanRoute,
    header,
    http_scope,
    read_body,
    refuse_encoding,
    require_json,
    send_reply,
)
from coordinator.http.auth import key_of
from coordinator.http.blob_routes import send_blob
from coordinator.http.job_bulk import submit_bulk
from coordinator.http.job_intake import Intake, idempotency_key, require_priority
from coordinator.http.job_logs import send_logs
from coordinator.http.job_lookup import own_job, owner_of
from coordinator.http.job_results import result_body
from coordinator.http.job_schema import InlineFile, JobRequest, parse_job
from coordinator.http.job_shapes import BulkShape, JobListShape, JobShape, job_shape, python_result
from coordinator.http.multipart_form import read_form
from coordinator.http.prefer import wait_of
from coordinator.http.query import Query
from coordinator.http.services import Services
from coordinator.records import JobKind, JobRecord, JobState, KeyRecord
from coordinator.records import Scope as KeyScope

_ENCODER = msgspec.json.Encoder()
_LIST_DEFAULT = 50
_LIST_MOST = 1000
_LIST_KNOWS = ("state", "kind", "limit", "after")


def job_handlers(services: Services) -> list[HTTPRouteHandler]:
    return [*_submitting(services), *_reading(services), *_changing(services)]


def _submitting(services: Services) -> list[HTTPRouteHandler]:
    @post("/api/v1/jobs/bulk")
    async def submit_jobs(request: AnyRequest) -> Response[BulkShape]:
        """Submit many jobs, one JSON object a line, all or none. 201 and their ids in order; 200 if they were known."""
        key = key_of(request.scope, KeyScope.JOBS)
        ids, new = await submit_bulk(services, key, request.scope, request.receive)
        return Response(BulkShape([*ids], new), status_code=201 if new else 200)

    return [submit_jobs]


def _reading(services: Services) -> list[HTTPRouteHandler]:
    @get("/api/v1/jobs")
    async def list_jobs(
        request: AnyRequest,
        states: Annotated[str, QueryParameter(name="state")] = "",
        kinds: Annotated[str, QueryParameter(name="kind")] = "python",
        most: Annotated[str, QueryParameter(name="limit")] = "50",
        older_than: Annotated[str, QueryParameter(name="after")] = "",
    ) -> JobListShape:
        """The key's own jobs (an admin's: everybody's), newest first.

        `state` and `kind` may be comma-separated, `kind` may be `all`; `after` is the id of the last job of the page
        before.
        """
        key = key_of(request.scope, KeyScope.JOBS)
        query = Query(request.scope["query_string"], _LIST_KNOWS)
        limit = query.whole("limit", _LIST_DEFAULT, 1, _LIST_MOST)
        wanted = query.members("state", JobState)
        of_kinds = [] if kinds == "all" else query.members("kind", JobKind, kinds)
        after = (await own_job(services, key, older_than)).id if older_than else None
        jobs = await services.store.jobs(owner_of(key), wanted, of_kinds, limit + 1, after)
        name_of = services.live.worker_name
        shapes = [job_shape(job, services.jobs.waiting(job.id), name_of) for job in jobs[:limit]]
        return JobListShape(shapes, has_more=len(jobs) > limit)

    @get("/api/v1/jobs/{job_id:str}")
    async def show_job(request: AnyRequest, job_id: FromPath[str]) -> JobShape:
        """One job, by its id or a beginning of it that is unique; with `Prefer: wait=SECONDS` once it has ended."""
        job = await own_job(services, key_of(request.scope, KeyScope.JOBS), job_id)
        if wait_s := wait_of(request.scope["headers"]):
            job = await services.jobs.ended(job.id, wait_s)
        return await _whole(services, job)

    return [list_jobs, show_job]


def _changing(services: Services) -> list[HTTPRouteHandler]:
    @delete("/api/v1/jobs/{job_id:str}", status_code=200)
    async def cancel_job(request: AnyRequest, job_id: FromPath[str]) -> JobShape:
        """Cancel a job; one that has ended stays as it is."""
        job = await own_job(services, key_of(request.scope, KeyScope.JOBS), job_id)
        return await _whole(services, await services.jobs.cancel(job.id))

    @post("/api/v1/jobs/{job_id:str}/requeue", status_code=200)
    async def requeue_job(request: AnyRequest, job_id: FromPath[str]) -> JobShape:
        """Try a job again that is dead or has failed; its crashes are forgotten."""
        job = await own_job(services, key_of(request.scope, KeyScope.JOBS), job_id)
        return await _whole(services, await services.jobs.revive(job.id))

    return [cancel_job, requeue_job]


def job_submission(services: Services) -> ASGIApp:
    """`POST /api/v1/jobs`: 201 and the job; 200 if its `Idempotency-Key` had brought it before.

    With `Prefer: wait=SECONDS` the answer comes when the job has ended, or after so many seconds.
    """

    async def submit(scope: Scope, receive: Receive, send: Send) -> None:
        http = http_scope(scope, "POST")
        key = key_of(http, KeyScope.JOBS)
        wait_s = wait_of(http["headers"])
        job, new = await _submit(services, key, http, receive)
        headers = [JSON, (b"location", f"/api/v1/jobs/{job.id}".encode())]
        if wait_s:
            headers.append((b"preference-applied", b"wait=%d" % wait_s))
            job = await services.jobs.ended(job.id, wait_s)
        shape = job_shape(job, services.jobs.waiting(job.id), services.live.worker_name)
        await send_reply(send, 201 if new else 200, _ENCODER.encode(shape), headers)

    return submit


def job_stream_routes(services: Services) -> list[LeanRoute]:
    """A job's logs, output files and result."""

    async def logs(scope: Scope, receive: Receive, send: Send, job_id: str) -> None:
        http = http_scope(scope, "GET")
        job = await own_job(services, key_of(http, KeyScope.JOBS), job_id)
        await send_logs(services, job, http, receive, send)

    async def files(scope: Scope, receive: Receive, send: Send, job_id: str, name: str) -> None:
        http = http_scope(scope, "GET", "HEAD")
        job = await own_job(services, key_of(http, KeyScope.JOBS), job_id)
        done = python_result(job)
        found = {file.name: file.sha256 for file in done.files} if done else {}
        if name not in found:
            raise NotFoundError("The job left no such file.")
        attachment = f"attachment; filename*=UTF-8''{quote(name.rsplit('/', 1)[-1], safe='')}"
        await send_blob(services, found[name], http, send, ((b"content-disposition", attachment.encode()),))

    async def result(scope: Scope, receive: Receive, send: Send, job_id: str) -> None:
        http = http_scope(scope, "GET")
        job = await own_job(services, key_of(http, KeyScope.JOBS), job_id)
        base64 = Query(http["query_string"], ("encoding_format",)).one_of("encoding_format", ("float", "base64"))
        body = await asyncio.to_thread(result_body, job, base64 == "base64")
        await send_reply(send, 200, body)

    return [
        LeanRoute(re.compile(r"/api/v1/jobs/([^/]+)/logs"), logs),
        LeanRoute(re.compile(r"/api/v1/jobs/([^/]+)/result"), result),
        LeanRoute(re.compile(r"/api/v1/jobs/([^/]+)/files/(.+)", re.DOTALL), files),
    ]


async def _whole(services: Services, job: JobRecord) -> JobShape:
    """With its history."""
    attempts = await services.store.attempts(job.id)
    return job_shape(job, services.jobs.waiting(job.id), services.live.worker_name, attempts)


async def _submit(services: Services, key: KeyRecord, scope: HTTPScope, receive: Receive) -> tuple[JobRecord, bool]:
    once = idempotency_key(scope["headers"])
    request, uploads = await _read_job(services, scope, receive)
    if request.kind != "python":
        key_of(scope, KeyScope.INFERENCE)
    require_priority(key, request)
    intake = Intake(services)
    return await services.jobs.submit(key, await intake.submission(intake.check(request, uploads), once))


async def _read_job(services: Services, scope: HTTPScope, receive: Receive) -> tuple[JobRequest, list[InlineFile]]:
    """Both forms: multipart, and JSON with base64 (a third larger than what it carries)."""
    headers, limits = scope["headers"], services.limits
    kind = header(headers, b"content-type") or ""
    if kind.lower().startswith("multipart/form-data"):
        refuse_encoding(headers)
        body = await read_body(headers, receive, limits.bundle_bytes + limits.json_bytes, limits)
        return read_form(kind, body, limits)
    require_json(headers)
    body = await read_body(headers, receive, limits.bundle_bytes * 4 // 3 + limits.json_bytes, limits)
    return parse_job(body), []

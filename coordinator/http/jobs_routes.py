"""`/api/v1/jobs…`: Python jobs.

What belongs to another key looks like what is not there, unless the key is an admin's.
"""

import asyncio
import hashlib
import re
from enum import Enum
from typing import Annotated, TypeVar
from urllib.parse import quote

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.types import HTTPScope, Receive, Scope, Send

from coordinator.errors import NotFoundError, RequestError
from coordinator.http.asgi import AnyRequest, LeanRoute, header, http_scope, read_body, refuse_encoding, require_json
from coordinator.http.auth import key_of
from coordinator.http.blob_routes import send_blob
from coordinator.http.job_logs import send_logs
from coordinator.http.multipart_form import read_form
from coordinator.http.native_schema import (
    InlineFile,
    JobListShape,
    JobRequest,
    JobShape,
    bundle,
    job_shape,
    parse_job,
    python_result,
)
from coordinator.http.services import Services
from coordinator.records import JobKind, JobRecord, JobState, KeyRecord
from coordinator.records import Scope as KeyScope
from coordinator.tickets import Submission
from gogrid.ids import JobId
from gogrid.protocol.tasks import InputFile, PythonLimits, PythonTask

_IDEMPOTENCY = re.compile(r"[\x21-\x7e]{1,255}")
_LIST_DEFAULT = 50
_LIST_MOST = 1000
_Member = TypeVar("_Member", bound=Enum)


def job_handlers(services: Services) -> list[HTTPRouteHandler]:
    @post("/api/v1/jobs")
    async def submit_job(request: AnyRequest) -> Response[JobShape]:
        """Submit a Python job. 201 and the job; 200 if its `Idempotency-Key` had brought it before."""
        key = key_of(request.scope, KeyScope.JOBS)
        job, new = await _submit(services, key, request.scope, request.receive)
        shape = job_shape(job, services.jobs.waiting(job.id))
        return Response(shape, status_code=201 if new else 200, headers={"location": f"/api/v1/jobs/{job.id}"})

    @get("/api/v1/jobs")
    async def list_jobs(
        request: AnyRequest,
        states: Annotated[str, QueryParameter(name="state")] = "",
        kinds: Annotated[str, QueryParameter(name="kind")] = "python",
        limit: FromQuery[int] = _LIST_DEFAULT,
    ) -> JobListShape:
        """The key's own jobs (an admin's: everybody's), newest first. `state` and `kind` may be comma-separated."""
        key = key_of(request.scope, KeyScope.JOBS)
        if not 1 <= limit <= _LIST_MOST:
            raise RequestError(f"`limit` must be 1 to {_LIST_MOST}.", "limit")
        owner = None if KeyScope.ADMIN in key.scopes else key.id
        wanted = [_member(JobState, name, "state") for name in _split(states)]
        of_kinds = [] if kinds == "all" else [_member(JobKind, name, "kind") for name in _split(kinds)]
        jobs = await services.store.jobs(owner, wanted, of_kinds, limit)
        return JobListShape([job_shape(job, services.jobs.waiting(job.id)) for job in jobs])

    @get("/api/v1/jobs/{job_id:str}")
    async def show_job(request: AnyRequest, job_id: FromPath[str]) -> JobShape:
        """One job."""
        job = await _own_job(services, key_of(request.scope, KeyScope.JOBS), job_id)
        return job_shape(job, services.jobs.waiting(job.id))

    @delete("/api/v1/jobs/{job_id:str}", status_code=200)
    async def cancel_job(request: AnyRequest, job_id: FromPath[str]) -> JobShape:
        """Cancel a job; one that has ended stays as it is."""
        job = await _own_job(services, key_of(request.scope, KeyScope.JOBS), job_id)
        return job_shape(await services.jobs.cancel(job.id), None)

    return [submit_job, list_jobs, show_job, cancel_job]


def job_stream_routes(services: Services) -> list[LeanRoute]:
    """A job's logs and output files."""

    async def logs(scope: Scope, receive: Receive, send: Send, job_id: str) -> None:
        http = http_scope(scope, "GET")
        job = await _own_job(services, key_of(http, KeyScope.JOBS), job_id)
        await send_logs(services, job, http, receive, send)

    async def files(scope: Scope, receive: Receive, send: Send, job_id: str, name: str) -> None:
        http = http_scope(scope, "GET", "HEAD")
        job = await _own_job(services, key_of(http, KeyScope.JOBS), job_id)
        done = python_result(job)
        found = {file.name: file.sha256 for file in done.files} if done else {}
        if name not in found:
            raise NotFoundError("The job left no such file.")
        attachment = f"attachment; filename*=UTF-8''{quote(name.rsplit('/', 1)[-1], safe='')}"
        await send_blob(services, found[name], http, send, ((b"content-disposition", attachment.encode()),))

    return [
        LeanRoute(re.compile(r"/api/v1/jobs/([^/]+)/logs"), logs),
        LeanRoute(re.compile(r"/api/v1/jobs/([^/]+)/files/(.+)", re.DOTALL), files),
    ]


async def _own_job(services: Services, key: KeyRecord, job_id: str) -> JobRecord:
    job = await services.store.job(JobId(job_id))
    if job is None or (job.owner != key.id and KeyScope.ADMIN not in key.scopes):
        raise NotFoundError(f"There is no job {job_id[:64]!r}.")
    return job


async def _submit(services: Services, key: KeyRecord, scope: HTTPScope, receive: Receive) -> tuple[JobRecord, bool]:
    idempotency_key = header(scope["headers"], b"idempotency-key")
    if idempotency_key is not None and not _IDEMPOTENCY.fullmatch(idempotency_key):
        raise RequestError("`Idempotency-Key` must be 1 to 255 printable characters.", "Idempotency-Key")
    request, uploads = await _read_job(services, scope, receive)
    if request.gpu:
        raise RequestError(
            "Workers lend their GPU to models, not to scripts: leave `gpu` out.", "gpu", "unsupported_parameter"
        )
    files = bundle(request, uploads, services.limits)
    task = PythonTask(
        files=tuple([await _keep(services, file) for file in files]),
        entry=request.entry,
        arguments=tuple(request.arguments),
        limits=PythonLimits(
            memory_bytes=request.limits.memory_bytes,
            cpu_cores=request.limits.cpu_cores,
            wall_s=request.limits.wall_s,
        ),
        gpu=request.gpu,
    )
    label = request.label or request.entry
    same = hashlib.sha256(msgspec.msgpack.encode((label, task))).hexdigest()
    return await services.jobs.submit(key, Submission(label, task, idempotency_key, same))


async def _read_job(services: Services, scope: HTTPScope, receive: Receive) -> tuple[JobRequest, list[InlineFile]]:
    """Both forms: multipart, and JSON with base64 (a third larger than what it carries)."""
    headers, limits = scope["headers"], services.limits
    refuse_encoding(headers)
    kind = header(headers, b"content-type") or ""
    if kind.lower().startswith("multipart/form-data"):
        body = await read_body(headers, receive, limits.bundle_bytes + limits.json_bytes, limits)
        return read_form(kind, body, limits)
    require_json(headers)
    body = await read_body(headers, receive, limits.bundle_bytes * 4 // 3 + limits.json_bytes, limits)
    return parse_job(body), []


async def _keep(services: Services, file: InlineFile) -> InputFile:
    stored = await asyncio.to_thread(services.blobs.put_bytes, file.content)
    return InputFile(name=file.name, sha256=stored.sha256, size=stored.size)


def _split(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _member(kind: type[_Member], name: str, param: str) -> _Member:
    try:
        return kind(name)
    except ValueError:
        allowed = ", ".join(str(member.value) for member in kind)
        raise RequestError(f"`{param}`: {name[:40]!r} is not one of {allowed}.", param) from None

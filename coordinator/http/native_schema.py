"""The native API's shapes: what `/api/v1/*` takes and gives. Pure.

A Python job is posted either as JSON (`JobRequest`, files inline in base64) or as `multipart/form-data` with one field
`job` holding a `JobRequest` without files and one file part per input file, the part's filename being its path below
`/job/in`. Sizes are bytes, times are seconds; points in time are seconds since 1970.
"""

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from coordinator.errors import RequestError
from coordinator.http.model_status import ModelStatus, model_status
from coordinator.http.openai_schema import decode
from coordinator.http.services import Limits
from coordinator.records import JobRecord, ModelRecord
from coordinator.tickets import Waiting
from coordinator.views import WorkerView
from gogrid.protocol.messages import EmbeddingDone, PythonDone, TextDone
from gogrid.protocol.tasks import PythonLimits

_DEFAULT = PythonLimits()
_BAD_PART = re.compile(r'[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069<>:"|?*\\/]')
_PART_BYTES = 200
_ARGUMENT_BYTES = 60_000
"""All arguments together; a worker takes 65,536."""
_PATH_BYTES = 512

MemoryBytes = Annotated[int, Meta(ge=16 << 20, le=1 << 42)]
Cores = Annotated[float, Meta(gt=0, le=1024)]
WallSeconds = Annotated[float, Meta(ge=1, le=7 * 86400)]


class JobLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    memory_bytes: MemoryBytes = _DEFAULT.memory_bytes
    cpu_cores: Cores = _DEFAULT.cpu_cores
    wall_s: WallSeconds = _DEFAULT.wall_s


class InlineFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    content: bytes
    """Base64 in JSON."""


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: str | None = None
    """The script's text; it becomes the file `entry`."""
    entry: Annotated[str, Meta(min_length=1, max_length=_PATH_BYTES)] = "main.py"
    """Which file to run; one of the files, unless `code` is given."""
    arguments: Annotated[list[Annotated[str, Meta(max_length=65536)]], Meta(max_length=1000)] = []
    limits: JobLimits = JobLimits()
    gpu: bool = False
    label: Annotated[str, Meta(max_length=200)] = ""
    """For people; the entry's name if empty."""
    files: list[InlineFile] = []


class FileShape(msgspec.Struct, frozen=True):
    name: str
    size: int
    sha256: str


class ResultShape(msgspec.Struct, frozen=True):
    exit_code: int
    ended: str
    """`exit`, `timeout`, `memory`, … (`gogrid.protocol.messages.PythonDone.ended`)."""
    detail: str
    files: list[FileShape]
    logs_truncated: bool


class JobErrorShape(msgspec.Struct, frozen=True):
    code: str
    message: str


class JobShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: str
    label: str
    state: str
    owner: str
    """Id of the key that submitted it."""
    worker: str | None
    epoch: int
    attempts: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    queue_position: int | None
    """0: next to be placed; null: not waiting."""
    waiting_for: list[str]
    """Why it waits, one reason for each worker."""
    result: ResultShape | None
    """Of a Python job that is done."""
    error: JobErrorShape | None
    object: str = "job"


class JobListShape(msgspec.Struct, frozen=True):
    data: list[JobShape]
    object: str = "list"


class LogShape(msgspec.Struct, frozen=True):
    """The data of a `log` event; its event id is `seq`, which counts from 1."""

    seq: int
    stream: str
    data: bytes
    """Base64 in JSON: the raw bytes the script wrote."""


class DeviceShape(msgspec.Struct, frozen=True):
    kind: str
    name: str
    memory_bytes: int
    cap_bytes: int
    usable: bool
    why: str


class WorkerShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    status: str
    """`pending`, `approved` or `revoked`."""
    connected: bool
    silent: bool
    readiness: str
    """`ready`, `paused`, `draining`, `unable`, `quarantined`, or `offline`."""
    reason: str
    platform: str
    software: str
    sandbox: str
    python_jobs: bool
    cores: int
    devices: list[DeviceShape]
    models: list[str]
    running: int
    """How many jobs run on it now."""
    connected_since: float | None
    remote: str | None
    """Its address; for admins only."""
    object: str = "worker"


class WorkerListShape(msgspec.Struct, frozen=True):
    data: list[WorkerShape]
    object: str = "list"


class ModelShape(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    kind: str
    engine: str
    digest: str
    size_bytes: int
    memory_bytes: int
    context_length: int
    width: int
    added_at: float
    workers: list[str]
    """Names of the connected workers that have it loaded."""
    status: ModelStatus
    """Where it is."""
    object: str = "model"


class ModelListShape(msgspec.Struct, frozen=True):
    data: list[ModelShape]
    object: str = "list"


_JOB_REQUEST = msgspec.json.Decoder(JobRequest)
_RESULT = msgspec.msgpack.Decoder(TextDone | EmbeddingDone | PythonDone)


def parse_job(body: bytes) -> JobRequest:
    return decode(body, _JOB_REQUEST)


def check_file_name(name: str, where: str) -> str:
    """A relative path that means the same on every system.

    Raises:
        RequestError: it leaves the folder, hides control characters or is too long.
    """
    parts = name.split("/")
    good = len(name.encode("utf-8", "surrogatepass")) <= _PATH_BYTES and all(
        part.strip(". ")
        and part == part.strip()
        and not part.endswith(".")
        and not _BAD_PART.search(part)
        and len(part.encode("utf-8", "surrogatepass")) <= _PART_BYTES
        for part in parts
    )
    if not good or not name.isprintable():
        raise RequestError(
            f"`{where}`: {name[:80]!r} is not a plain relative path (no `..`, no leading `/`, no control characters).",
            where,
            "invalid_value",
        )
    return name


def bundle(request: JobRequest, uploads: list[InlineFile], limits: Limits) -> list[InlineFile]:
    """All files of a job, the script first.

    Raises:
        RequestError: no script, a bad or doubled name, too many files or bytes.
    """
    files = [*request.files, *uploads]
    _check_arguments(request.arguments)
    check_file_name(request.entry, "entry")
    if request.code is not None:
        files.insert(0, InlineFile(request.entry, request.code.encode()))
    seen: set[str] = set()
    for at, file in enumerate(files):
        where = f"files[{at}].name"
        folded = check_file_name(file.name, where).casefold()
        if folded in seen:
            raise RequestError(f"`{where}`: {file.name!r} is given twice.", where, "invalid_value")
        seen.add(folded)
    for folded in seen:
        if any(other.startswith(f"{folded}/") for other in seen):
            raise RequestError(f"`files`: {folded!r} is given as a file and as a folder.", "files", "invalid_value")
    if request.entry not in {file.name for file in files}:
        raise RequestError(f"`entry`: no file {request.entry!r} was sent; give `code` or the file.", "entry")
    if len(files) > limits.bundle_files:
        raise RequestError(f"A job may have at most {limits.bundle_files} files, not {len(files)}.", "files")
    size = sum(len(file.content) for file in files)
    if size > limits.bundle_bytes:
        raise RequestError(f"A job's files may be {limits.bundle_bytes} bytes together, not {size}.", "files")
    return files


def _check_arguments(arguments: list[str]) -> None:
    if any("\x00" in argument for argument in arguments):
        raise RequestError("`arguments` must not contain zero bytes.", "arguments", "invalid_value")
    size = sum(len(argument.encode("utf-8", "surrogatepass")) + 1 for argument in arguments)
    if size > _ARGUMENT_BYTES:
        raise RequestError(
            f"`arguments` may be {_ARGUMENT_BYTES} bytes together, not {size}: put the rest into a file.",
            "arguments",
            "invalid_value",
        )


def job_shape(record: JobRecord, waiting: Waiting | None) -> JobShape:
    outcome = record.outcome
    return JobShape(
        id=record.id,
        kind=record.kind.value,
        label=record.label,
        state=record.state.value,
        owner=record.owner,
        worker=record.worker,
        epoch=record.epoch,
        attempts=record.attempts,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        queue_position=waiting.position if waiting is not None else None,
        waiting_for=list(waiting.reasons) if waiting is not None else [],
        result=_result(record),
        error=JobErrorShape(outcome.error_code, outcome.error) if outcome and outcome.error_code else None,
    )


def python_result(record: JobRecord) -> PythonDone | None:
    """What a Python job left, once it is done."""
    if record.outcome is None or not record.outcome.result:
        return None
    result = _RESULT.decode(record.outcome.result)
    return result if isinstance(result, PythonDone) else None


def _result(record: JobRecord) -> ResultShape | None:
    done = python_result(record)
    if done is None:
        return None
    files = [FileShape(file.name, file.size, file.sha256) for file in done.files]
    return ResultShape(done.exit_code, done.ended, done.detail, files, done.logs_truncated)


def worker_shape(view: WorkerView, for_admin: bool) -> WorkerShape:
    report = view.report
    devices = report.devices if report else ()
    return WorkerShape(
        id=view.record.id,
        name=view.record.name,
        status=view.record.status.value,
        connected=view.connected,
        silent=view.silent,
        readiness=_readiness(view),
        reason=_reason(view),
        platform=report.platform if report else "",
        software=report.software if report else "",
        sandbox=report.sandbox if report else "",
        python_jobs=report.python_jobs if report else False,
        cores=report.cores if report else 0,
        devices=[DeviceShape(d.kind.value, d.name, d.memory_bytes, d.cap_bytes, d.usable, d.why) for d in devices],
        models=list(view.models),
        running=len(view.running),
        connected_since=view.connected_since,
        remote=view.remote if for_admin else None,
    )


def _readiness(view: WorkerView) -> str:
    if not view.connected or view.report is None:
        return "offline"
    return "quarantined" if view.record.quarantined else view.report.readiness.value


def _reason(view: WorkerView) -> str:
    if view.record.quarantined:
        return f"{view.record.quarantined}; an admin lets it out: gogrid-coordinator worker release {view.record.name}"
    if not view.connected:
        return "not connected"
    if view.report is None:
        return "has not reported yet"
    if view.silent:
        return "does not answer"
    if view.record.draining:
        return "drained by the admin"
    return view.report.reason


def model_shape(record: ModelRecord, workers: list[WorkerView]) -> ModelShape:
    return ModelShape(
        name=record.name,
        kind=record.kind.value,
        engine=record.engine,
        digest=record.digest,
        size_bytes=record.size_bytes,
        memory_bytes=record.memory_bytes,
        context_length=record.context_length,
        width=record.width,
        added_at=record.added_at,
        workers=[view.record.name for view in workers if view.connected and record.name in view.models],
        status=model_status(record, workers),
    )

"""A job as it is posted: what `/api/v1/jobs` takes. Pure.

A Python job is posted either as JSON (`JobRequest`, files inline in base64) or as `multipart/form-data` with one field
`job` holding a `JobRequest` without files and one file part per input file, the part's filename being its path below
`/job/in`. A job for a model has the body of the OpenAI endpoint of its kind in `request`. Sizes are bytes, times are
seconds.
"""

import re
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from coordinator.errors import RequestError
from coordinator.http.json_body import decode
from coordinator.http.services import Limits
from gogrid.protocol.tasks import PythonLimits
from gogrid.sizes import format_size

N = TypeVar("N", int, float)
_DEFAULT = PythonLimits()
_BAD_PART = re.compile(r'[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069<>:"|?*\\/]')
_PART_BYTES = 200
_ARGUMENT_BYTES = 60_000
"""All arguments together; a worker takes 65,536."""
_PATH_BYTES = 512

LEAST_MEMORY_BYTES = 16 << 20
LEAST_WALL_S = 1.0


class JobLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`check_limits` says what each may be."""

    memory_bytes: int = _DEFAULT.memory_bytes
    cpu_cores: float = _DEFAULT.cpu_cores
    wall_s: float = _DEFAULT.wall_s
    output_bytes: int = _DEFAULT.output_bytes
    """Of its output files together."""
    output_files: int = _DEFAULT.output_files


class InlineFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    content: bytes
    """Base64 in JSON."""


class JobRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Literal["python", "chat", "completion", "embedding"] = "python"
    priority: Annotated[int, Meta(ge=-100, le=100)] = 0
    """Higher first; above 0 for admins only."""
    request: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    """Of a job for a model: the body of `/v1/chat/completions`, `/v1/completions` or `/v1/embeddings`."""
    code: str | None = None
    """The script's text; it becomes the file `entry`."""
    entry: Annotated[str, Meta(min_length=1, max_length=_PATH_BYTES)] = "main.py"
    """Which file to run; one of the files, unless `code` is given."""
    arguments: Annotated[list[Annotated[str, Meta(max_length=65536)]], Meta(max_length=1000)] = []
    limits: JobLimits = JobLimits()
    gpu: bool = False
    label: Annotated[str, Meta(max_length=200)] = ""
    """For people; the entry's or the model's name if empty."""
    files: list[InlineFile] = []


_JOB_REQUEST = msgspec.json.Decoder(JobRequest)
_PYTHON_ONLY = ("code", "entry", "arguments", "limits", "gpu", "files")
_NOTHING = JobRequest()


def parse_job(body: bytes) -> JobRequest:
    """Raises `RequestError` also for what does not go with the job's kind."""
    request = decode(body, _JOB_REQUEST)
    if request.kind == "python":
        if bytes(request.request):
            raise RequestError("`request` is for jobs of the kinds chat, completion and embedding.", "request")
        return request
    for param in _PYTHON_ONLY:
        if getattr(request, param) != getattr(_NOTHING, param):
            raise RequestError(f"`{param}` is for Python jobs only, not for {request.kind} jobs.", param)
    if not bytes(request.request):
        raise RequestError(
            f"`request` is required: what one would post to OpenAI's {request.kind} endpoint.",
            "request",
            "missing_required_parameter",
        )
    return request


def check_limits(asked: JobLimits, most: Limits) -> PythonLimits:
    """Raises `RequestError` that names the limit, what was asked for and what may be."""
    _in_range("memory_bytes", asked.memory_bytes, LEAST_MEMORY_BYTES, most.job_memory_bytes, format_size)
    _in_range("cpu_cores", asked.cpu_cores, 0.01, most.job_cores, lambda cores: f"{cores:g}")
    _in_range("wall_s", asked.wall_s, LEAST_WALL_S, most.job_wall_s, lambda seconds: f"{seconds:g} s")
    _in_range("output_bytes", asked.output_bytes, 0, most.job_output_bytes, format_size)
    _in_range("output_files", asked.output_files, 0, most.job_output_files, str)
    return PythonLimits(
        memory_bytes=asked.memory_bytes,
        cpu_cores=asked.cpu_cores,
        wall_s=asked.wall_s,
        output_bytes=asked.output_bytes,
        output_files=asked.output_files,
    )


def _in_range(name: str, asked: N, least: N, most: N, words: Callable[[N], str]) -> None:
    if not least <= asked <= most:
        raise RequestError(
            f"`limits.{name}`: a job may ask for {words(least)} to {words(most)}, not for {words(asked)}.",
            f"limits.{name}",
            "invalid_value",
        )


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

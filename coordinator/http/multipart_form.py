"""A job posted as `multipart/form-data`: one field `job`, and the files. Pure."""

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from coordinator.errors import RequestError
from coordinator.http.job_schema import InlineFile, JobRequest, parse_job
from coordinator.http.services import Limits

_JOB_FIELD = "job"


def read_form(content_type: str, body: bytes, limits: Limits) -> tuple[JobRequest, list[InlineFile]]:
    """Raises `RequestError` for anything that is not such a form."""
    job: JobRequest | None = None
    files: list[InlineFile] = []
    for segment, content in _segments(content_type, body, limits):
        if segment.filename is not None:
            files.append(InlineFile(segment.filename, content))
        elif segment.name != _JOB_FIELD:
            raise RequestError(f"The form field {segment.name[:80]!r} is not known here.", segment.name[:80])
        elif job is not None:
            raise RequestError("The form field `job` is given twice.", _JOB_FIELD)
        else:
            job = parse_job(content)
    if job is None:
        job = JobRequest()
    if job.files:
        raise RequestError("In a form, files are parts of their own, not `job.files`.", "job.files")
    return job, files


def _segments(content_type: str, body: bytes, limits: Limits) -> list[tuple[MultipartSegment, bytes]]:
    _, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if not boundary:
        raise RequestError("The form cannot be read: its Content-Type names no `boundary`.", None, "invalid_form")
    found: list[tuple[MultipartSegment, bytes]] = []
    pieces: list[bytes] = []
    try:
        with PushMultipartParser(boundary, max_segment_count=limits.bundle_files + 1, strict=True) as parser:
            for event in parser.parse(body):
                match event:
                    case MultipartSegment():
                        found.append((event, b""))
                    case None:
                        found[-1] = (found[-1][0], b"".join(pieces))
                        pieces.clear()
                    case _:
                        pieces.append(bytes(event))
    except MultipartError:
        if len(found) > limits.bundle_files:
            raise RequestError(
                f"A job may have at most {limits.bundle_files} files, and this form has more.", "files"
            ) from None
        where = f"after {len(found)} whole parts" if found else "from its beginning"
        raise RequestError(
            f"The form cannot be read: {where} it is not the multipart/form-data that its Content-Type announces.",
            None,
            "invalid_form",
        ) from None
    return found

"""From a posted job to a `Submission`: its files become blobs, its request for a model becomes a task.

Promises: whatever is refused is refused before anything is accepted; the same body gives the same `body_sha256`, so
that an `Idempotency-Key`, if there is one, recognises it.
"""

import asyncio
import hashlib
import random
import re

import msgspec

from coordinator.errors import RequestError, ScopeError
from coordinator.http.asgi import Headers
from coordinator.http.job_schema import InlineFile, JobRequest, bundle, check_limits
from coordinator.http.model_jobs import ModelTask, model_task
from coordinator.http.services import Services
from coordinator.records import KeyRecord, Scope
from coordinator.tickets import Submission
from gogrid.protocol.tasks import InputFile, PythonLimits, PythonTask

_IDEMPOTENCY = re.compile(r"[\x21-\x7e]{1,255}")
_NO_LIMITS_ASKED = PythonLimits()


def idempotency_key(headers: Headers) -> str | None:
    """Raises `RequestError` for one that cannot be kept."""
    given = [value.decode("latin-1") for name, value in headers if name == b"idempotency-key"]
    if len(given) > 1 or not all(map(_IDEMPOTENCY.fullmatch, given)):
        raise RequestError("`Idempotency-Key` must be 1 to 255 printable characters, once.", "Idempotency-Key")
    return given[0] if given else None


def require_priority(key: KeyRecord, job: JobRequest, line: int | None = None) -> None:
    """Raises `ScopeError` for a job that would pass those of others, unless the key is an admin's."""
    if job.priority > 0 and Scope.ADMIN not in key.scopes:
        where = "" if line is None else f"Line {line}: "
        raise ScopeError(
            f"{where}`priority` {job.priority} needs a key with the scope 'admin'; other keys may ask for 0 or less.",
            "priority" if line is None else f"line {line}",
            "priority_not_allowed",
        )


class Checked(msgspec.Struct, frozen=True):
    """A posted job of which nothing is wrong as far as can be told before it is submitted."""

    request: JobRequest
    model: tuple[str, ModelTask] | None
    """Of a job for a model: the model's name, and its task."""
    files: tuple[InlineFile, ...] = ()
    """Of a Python job: all of them, the script first."""
    limits: PythonLimits = _NO_LIMITS_ASKED


class Intake:
    """Takes the jobs of one request; a file that several of them have is stored once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stored: dict[bytes, asyncio.Task[InputFile]] = {}

    def check(self, job: JobRequest, uploads: list[InlineFile]) -> Checked:
        """Raises what `bundle` and `model_task` raise; stores nothing."""
        if job.kind != "python":
            seed = random.getrandbits(31)  # of a sampling that nobody asked to be repeatable
            task = model_task(job, self._services.catalogue, seed, self._services.limits)
            return Checked(job, task)
        limits = check_limits(job.limits, self._services.limits)
        return Checked(job, None, tuple(bundle(job, uploads, self._services.limits)), limits)

    async def submission(self, job: Checked, once: str | None) -> Submission:
        """Raises `StorageFullError`."""
        return await self.script(job, once) if job.model is None else self.request(job, job.model, once)

    def request(self, job: Checked, model: tuple[str, ModelTask], once: str | None, digest: str = "") -> Submission:
        """Of `job.model`. `digest`: of what the job came in; empty: of what it says, if anybody may ask again."""
        name, task = model
        label, priority = job.request.label or name, job.request.priority
        if once is not None and not digest:
            digest = _sha256_of_request(label, job.request)
        return Submission(label, task, once, digest, priority)

    async def script(self, job: Checked, once: str | None, digest: str = "") -> Submission:
        """Of a Python job; `digest` and what it raises as above."""
        request = job.request
        task = PythonTask(
            files=tuple([await self._keep(file) for file in job.files]),
            entry=request.entry,
            arguments=tuple(request.arguments),
            limits=job.limits,
            gpu=request.gpu,
        )
        label = request.label or request.entry
        return Submission(label, task, once, digest or _sha256((label, task, request.priority)), request.priority)

    async def _keep(self, file: InlineFile) -> InputFile:
        digest = hashlib.sha256(file.content).digest()
        known = self._stored.get(digest)
        if known is None:
            known = self._stored[digest] = asyncio.get_running_loop().create_task(self._store(file))
        return msgspec.structs.replace(await known, name=file.name)

    async def _store(self, file: InlineFile) -> InputFile:
        stored = await asyncio.to_thread(self._services.blobs.put_bytes, file.content)
        return InputFile(name=file.name, sha256=stored.sha256, size=stored.size)


def _sha256_of_request(label: str, job: JobRequest) -> str:
    """The same for what means the same, however its body was written."""
    return _sha256(
        (label, job.kind, job.priority, msgspec.json.encode(msgspec.json.decode(job.request), order="sorted"))
    )


def _sha256(of: object) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(of)).hexdigest()

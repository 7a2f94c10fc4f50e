"""From a posted job to a `Submission`: its files become blobs, its request for a model becomes a task.

Promises: whatever is refused is refused before anything is accepted; the same body gives the same `body_sha256`, so
that an `Idempotency-Key` recognises it.
"""

import asyncio
import hashlib
import re
import secrets

import msgspec

from coordinator.errors import RequestError, ScopeError
from coordinator.http.asgi import Headers
from coordinator.http.job_schema import InlineFile, JobRequest, bundle, check_limits
from coordinator.http.model_jobs import model_task
from coordinator.http.services import Services
from coordinator.records import KeyRecord, Scope
from coordinator.tickets import Submission
from gogrid.protocol.tasks import InputFile, PythonTask

_IDEMPOTENCY = re.compile(r"[\x21-\x7e]{1,255}")


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


class Intake:
    """Takes the jobs of one request; a file that several of them have is stored once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stored: dict[bytes, asyncio.Task[InputFile]] = {}

    def check(self, job: JobRequest, uploads: list[InlineFile]) -> None:
        """Raises what `bundle` and `model_task` raise; stores nothing."""
        if job.kind != "python":
            model_task(job, self._services.catalogue, 0, self._services.limits)
            return
        check_limits(job.limits, self._services.limits)
        bundle(job, uploads, self._services.limits)

    async def submission(self, job: JobRequest, uploads: list[InlineFile], once: str | None) -> Submission:
        """Raises what `check` raises, and `StorageFullError`."""
        if job.kind != "python":
            model, task = model_task(job, self._services.catalogue, secrets.randbits(31), self._services.limits)
            label = job.label or model
            asked = msgspec.json.encode(msgspec.json.decode(job.request), order="sorted")
            return Submission(label, task, once, _sha256((label, job.kind, job.priority, asked)), job.priority)
        self.check(job, uploads)
        script = PythonTask(
            files=tuple([await self._keep(file) for file in bundle(job, uploads, self._services.limits)]),
            entry=job.entry,
            arguments=tuple(job.arguments),
            limits=check_limits(job.limits, self._services.limits),
            gpu=job.gpu,
        )
        label = job.label or job.entry
        return Submission(label, script, once, _sha256((label, script, job.priority)), job.priority)

    async def _keep(self, file: InlineFile) -> InputFile:
        digest = hashlib.sha256(file.content).digest()
        known = self._stored.get(digest)
        if known is None:
            known = self._stored[digest] = asyncio.get_running_loop().create_task(self._store(file))
        return msgspec.structs.replace(await known, name=file.name)

    async def _store(self, file: InlineFile) -> InputFile:
        stored = await asyncio.to_thread(self._services.blobs.put_bytes, file.content)
        return InputFile(name=file.name, sha256=stored.sha256, size=stored.size)


def _sha256(of: object) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(of)).hexdigest()

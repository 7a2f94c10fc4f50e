"""Python jobs as the worker runs them: fetch what goes in, run it in a fresh sandbox, store what comes out.

Promises: every input is verified by its hash before the script starts; every output is stored at the coordinator before
the job counts as finished; nothing of a job stays on this machine's disk.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from gogrid.ids import Sha256
from gogrid.protocol.job_messages import FailCode, Finished, JobMessage, OutputFile, Progress
from gogrid.protocol.tasks import PythonTask
from gogrid.protocol.worker_report import LoadStage
from runner.errors import JobError
from runner.models.blobs import Moved
from runner.models.disk import delete_tree
from runner.models.disk_trouble import as_no_room
from runner.python_job.run import run_python
from runner.sandbox.base import Launcher
from runner.session import JobStream
from runner.threads import in_thread

log = logging.getLogger(__name__)
_FETCHED_AT_ONCE = 4


class BlobStore(Protocol):
    """See `models.blobs.Blobs`."""

    async def fetch(
        self, sha256: Sha256, target: Path, *, max_size: int, exact: bool, moved: Moved, lasting: bool = True
    ) -> None: ...

    async def store(self, sha256: Sha256, source: Path) -> None: ...


class ScriptRunner:
    def __init__(
        self, launcher: Launcher, blobs: BlobStore, folder: Path, packages: tuple[str, ...] | None = None
    ) -> None:
        """`folder` is for jobs alone; what an earlier process left there is removed. `packages`: see `run_python`."""
        self._packages = packages
        self._launcher, self._blobs, self._folder = launcher, blobs, folder
        delete_tree(folder)
        folder.mkdir(parents=True, mode=0o700)

    async def run(self, task: PythonTask, stream: JobStream, gpus: tuple[str, ...] = ()) -> Finished:
        """Raises `JobError`, `SandboxUnavailableError`.

        Args:
            gpus: UUIDs of the GPUs it is granted.
        """
        folder = self._folder / secrets.token_hex(8)
        with as_no_room("a job's folder"):
            folder.mkdir(mode=0o700)

        async def save(name: str, pieces: AsyncIterator[bytes]) -> OutputFile:
            return await self._save(folder, name, pieces)

        async def send(message: JobMessage) -> None:
            stream.send(message)
            await stream.drained()

        try:
            inputs = await self._inputs(folder, task, stream)
            never = asyncio.Event()
            done = await run_python(self._launcher, task, inputs, send, save, never, gpus, self._packages)
            return Finished(result=done)
        finally:
            await in_thread(lambda _stop: delete_tree(folder), "sweep job")

    async def _inputs(self, folder: Path, task: PythonTask, stream: JobStream) -> dict[str, Path]:
        """The job's files, each once however many names it has."""
        sizes = {file.sha256: file.size for file in task.files}
        if not all(_is_hash(sha256) and size >= 0 for sha256, size in sizes.items()):
            raise JobError("A file of the job has no proper hash or size.", FailCode.BAD_REQUEST, "files")
        total, arrived = sum(sizes.values()), 0
        at_once = asyncio.Semaphore(_FETCHED_AT_ONCE)

        async def fetch(sha256: Sha256, size: int) -> None:
            nonlocal arrived
            async with at_once:
                place = folder / sha256
                await self._blobs.fetch(sha256, place, max_size=size, exact=True, moved=_nobody_counts, lasting=False)
            place.chmod(0o444)
            arrived += size
            if total and arrived < total:
                stream.send(Progress(stage=LoadStage.DOWNLOADING, fraction=arrived / total))

        fetching = [asyncio.create_task(fetch(sha256, size)) for sha256, size in sizes.items()]
        try:
            await asyncio.gather(*fetching)
        finally:
            for one in fetching:
                one.cancel()
            await asyncio.gather(*fetching, return_exceptions=True)
        return {file.name: folder / file.sha256 for file in task.files}

    async def _save(self, folder: Path, name: str, pieces: AsyncIterator[bytes]) -> OutputFile:
        """Store one output file; its disk space is free again when this returns."""
        path = folder / f"out-{secrets.token_hex(8)}"
        digest, size = hashlib.sha256(), 0
        with as_no_room("a job's output"), path.open("xb") as file:
            async for piece in pieces:
                file.write(piece)
                digest.update(piece)
                size += len(piece)
        sha256 = Sha256(digest.hexdigest())
        await self._blobs.store(sha256, path)
        path.unlink()
        return OutputFile(name=name, sha256=sha256, size=size)


def _nobody_counts(_count: int) -> None:
    """Files of jobs are small: how far each has come is not told."""


def _is_hash(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")

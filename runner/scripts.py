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
from gogrid.protocol.messages import FailCode, Finished, JobMessage, LoadStage, OutputFile, Progress
from gogrid.protocol.tasks import PythonTask
from runner.errors import JobError
from runner.models.blobs import Moved
from runner.models.disk import delete_tree
from runner.python_job.run import run_python
from runner.sandbox.base import Launcher
from runner.session import JobStream
from runner.threads import in_thread

log = logging.getLogger(__name__)


class BlobStore(Protocol):
    """See `models.blobs.Blobs`."""

    async def fetch(self, sha256: Sha256, target: Path, *, max_size: int, exact: bool, moved: Moved) -> None: ...

    async def store(self, sha256: Sha256, source: Path) -> None: ...


class ScriptRunner:
    def __init__(self, launcher: Launcher, blobs: BlobStore, folder: Path) -> None:
        """`folder` is for jobs alone; what an earlier process left there is removed."""
        self._launcher, self._blobs, self._folder = launcher, blobs, folder
        delete_tree(folder)
        folder.mkdir(parents=True, mode=0o700)

    async def run(self, task: PythonTask, stream: JobStream, gpus: tuple[str, ...] = ()) -> Finished:
        """Raises `JobError`, `SandboxUnavailableError`.

        Args:
            gpus: UUIDs of the GPUs it is granted.
        """
        folder = self._folder / secrets.token_hex(8)
        folder.mkdir(mode=0o700)

        async def save(name: str, pieces: AsyncIterator[bytes]) -> OutputFile:
            return await self._save(folder, name, pieces)

        async def send(message: JobMessage) -> None:
            stream.send(message)
            await stream.drained()

        try:
            inputs = await self._inputs(folder, task, stream)
            never = asyncio.Event()
            done = await run_python(self._launcher, task, inputs, send, save, never, gpus)
            return Finished(result=done)
        finally:
            await in_thread(lambda _stop: delete_tree(folder), "sweep job")

    async def _inputs(self, folder: Path, task: PythonTask, stream: JobStream) -> dict[str, Path]:
        """The job's files, each once however many names it has."""
        sizes = {file.sha256: file.size for file in task.files}
        total, arrived = sum(sizes.values()), 0
        for sha256, size in sizes.items():
            if not _is_hash(sha256) or size < 0:
                raise JobError("A file of the job has no proper hash or size.", FailCode.BAD_REQUEST, "files")
            await self._blobs.fetch(sha256, folder / sha256, max_size=size, exact=True, moved=lambda _count: None)
            (folder / sha256).chmod(0o444)
            arrived += size
            stream.send(Progress(stage=LoadStage.DOWNLOADING, fraction=arrived / total if total else 1.0))
        return {file.name: folder / file.sha256 for file in task.files}

    async def _save(self, folder: Path, name: str, pieces: AsyncIterator[bytes]) -> OutputFile:
        """Store one output file; its disk space is free again when this returns."""
        path = folder / f"out-{secrets.token_hex(8)}"
        digest, size = hashlib.sha256(), 0
        with path.open("xb") as file:
            async for piece in pieces:
                file.write(piece)
                digest.update(piece)
                size += len(piece)
        sha256 = Sha256(digest.hexdigest())
        await self._blobs.store(sha256, path)
        path.unlink()
        return OutputFile(name=name, sha256=sha256, size=size)


def _is_hash(text: str) -> bool:
    return len(text) == 64 and not set(text) - set("0123456789abcdef")

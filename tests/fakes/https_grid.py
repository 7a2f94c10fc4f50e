"""The real HTTP app with its scripted backend, on a real TLS listener of this machine, in a thread of its own.

Records what reached it, can break answers on purpose, and runs submitted Python jobs through a scripted worker.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.http.app import create_app
from coordinator.http.server import HttpServer, Listen
from coordinator.records import JobRecord, KeyRecord
from coordinator.releases.offers import NoReleases
from coordinator.releases.shelf import Shelf
from coordinator.tickets import Submission
from gogrid.client.profile import Profile, save_profile
from gogrid.identity import create_identity, issue_leaf, save_leaf, server_context
from gogrid.ids import JobId
from gogrid.protocol.job_messages import OutputFile, PythonDone, PythonEnd
from gogrid.protocol.tasks import PythonTask
from tests.fakes.backend import USER, Backend, FakeJobs

T = TypeVar("T")
Act = Callable[["ScriptedJobs", JobId, PythonTask], Awaitable[PythonDone | None]]
"""What the worker does with a job; None leaves it waiting."""


class ScriptedJobs(FakeJobs):
    """Hands each new job to `act`."""

    act: Act | None = None

    def __init__(self) -> None:
        super().__init__()
        self._work: set[asyncio.Task[None]] = set()

    async def submit(self, key: KeyRecord, submission: Submission) -> tuple[JobRecord, bool]:
        record, new = await super().submit(key, submission)
        if new and self.act is not None and isinstance(submission.task, PythonTask):
            work = asyncio.get_running_loop().create_task(self._run(record.id, submission.task))
            self._work.add(work)
            work.add_done_callback(self._work.discard)
        return record, new

    async def _run(self, job_id: JobId, task: PythonTask) -> None:
        assert self.act is not None
        done = await self.act(self, job_id, task)
        if done is not None:
            await self.end(job_id, done)


class HttpsGrid:
    """What a test sees of it; `start` and `stop` are `https_grid`'s."""

    def __init__(self, folder: Path, port: int, shown: bytes | None) -> None:
        self.identity = create_identity("test grid", datetime.now(UTC))
        self._shown = shown or self.identity.pem
        self.jobs = ScriptedJobs()
        self.backend = Backend(folder, jobs=self.jobs)
        self.seen: list[tuple[str, str, str]] = []
        """Method, path and `Authorization` of every request."""
        self.cut: Callable[[str, str], int | None] = lambda method, path: None
        """After how many body messages the answer to this request is to break off."""
        self.cut_politely = False
        """Whether it then ends as if it were complete."""
        self.loop = asyncio.new_event_loop()
        self.releases: Shelf | None = None
        """What it offers; to be set before `start`."""
        self._folder = folder
        self._listen_port = port
        self.port = 0
        self._thread = threading.Thread(target=self.loop.run_forever, name="https-grid")
        self._server: HttpServer | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def call(self, work: Coroutine[object, object, T]) -> T:
        """Run something where the server runs."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def keep(self, content: bytes, name: str) -> OutputFile:
        """Put an output file where a worker would have put it."""
        stored = self.backend.blobs.put_bytes(content)
        return OutputFile(name=name, sha256=stored.sha256, size=stored.size)

    def kept(self, sha256: str) -> bytes:
        """An input file as a worker would fetch it."""
        with self.backend.blobs.open(sha256) as blob:
            return blob.read()

    def start(self) -> None:
        self._thread.start()
        self.call(self._start())

    def stop(self) -> None:
        if self._server is not None:
            self.call(self._server.stop(0))
        self.call(_cancel_everything())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _start(self) -> None:
        leaf = issue_leaf(self.identity, ["127.0.0.1"], datetime.now(UTC))
        chain, key = self._folder / "leaf.pem", self._folder / "leaf.key"
        save_leaf(leaf, chain, key)
        services = replace(self.backend.services, identity_pem=self._shown, releases=self.releases or NoReleases())
        app = self._watched(create_app(services))
        context = server_context(chain, key)
        self._server = HttpServer(app, tls=Listen("127.0.0.1", self._listen_port), context=context)
        await self._server.start()
        [self.port] = self._server.ports

    def _watched(self, app: ASGIApp) -> ASGIApp:
        async def watch(scope: Scope, receive: Receive, send: Send) -> None:
            assert scope["type"] == "http"
            authorization = dict(scope["headers"]).get(b"authorization", b"").decode()
            self.seen.append((scope["method"], scope["path"], authorization))
            left = self.cut(scope["method"], scope["path"])

            async def cutting(message: Message) -> None:
                nonlocal left
                if left is not None and message["type"] == "http.response.body":
                    if left == 0 and self.cut_politely:
                        message = {"type": "http.response.body", "body": b"", "more_body": False}
                    elif left <= 0:
                        raise ConnectionAbortedError("cut by the test")
                    left -= 1
                await send(message)

            await app(scope, receive, send if left is None else cutting)

        return watch


async def _cancel_everything() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def https_grid(
    folder: Path,
    port: int = 0,
    shown: bytes | None = None,
    releases: Shelf | None = None,
    loading_s: float | None = None,
) -> Iterator[HttpsGrid]:
    """A grid with an identity of its own; `shown` is what it claims to be instead, at `/identity.pem`.

    `loading_s`: how soon it says what a stream waits for, if not as soon as always.
    """
    folder.mkdir(exist_ok=True)
    grid = HttpsGrid(folder, port, shown)
    grid.releases = releases
    if loading_s is not None:
        grid.backend.limits = replace(grid.backend.limits, loading_s=loading_s)
    grid.start()
    try:
        yield grid
    finally:
        grid.stop()


def logged_in(grid: HttpsGrid, folder: Path) -> dict[str, str]:
    """The environment of somebody who has logged in; the login lies in `folder`."""
    file = folder / "client.toml"
    save_profile(file, "default", Profile(grid.url, USER, grid.identity.pem.decode()))
    return {"GOGRID_CLIENT_CONFIG": str(file)}


def at_work(grid: HttpsGrid, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The same, in an empty working folder `here`."""
    here = folder / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return logged_in(grid, folder)


def ends(exit_code: int = 0, files: Sequence[OutputFile] = (), **more: object) -> PythonDone:
    """How a script ended."""
    ended = PythonEnd.FAILED if exit_code else PythonEnd.OK
    return PythonDone(**{"exit_code": exit_code, "ended": ended, "files": tuple(files), **more})  # type: ignore[arg-type]

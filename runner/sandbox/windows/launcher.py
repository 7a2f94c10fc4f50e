"""Start sandboxes on Windows: a Job Object, a restricted token at low integrity, a folder of its own.

Promises: the process gets the policy of `sandbox_profiles.windows`, nothing of this process's environment, and no
handle but its three pipes; everything in the sandbox ends when its first process does, at `kill`, and when this
process ends, however that happens; its folder is removed afterwards. Refuses by `SandboxUnavailableError`. What a
token cannot do is in the report: mounts are seen where they lie, and the network and the owner's files are not closed.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import shutil
import tempfile
import threading
from pathlib import Path
from secrets import token_hex

import psutil

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import SandboxReport, SandboxSpec
from runner.sandbox.windows.api import call, wait_for, windows_folder
from runner.sandbox.windows.command import (
    WindowsHome,
    command_line,
    environment,
    environment_block,
    exit_status,
    job_limits,
)
from runner.sandbox.windows.job import Job
from runner.sandbox.windows.pipes import Pipes, open_pipes
from runner.sandbox.windows.process import Started, start_in_job
from runner.sandbox.windows.token import label_folder, make_private_folder, restricted_token
from sandbox_profiles import windows

_PREFIX = "gogrid-sandbox-"
_GONE_TRIES = 250
_GONE_EVERY_S = 0.02

_log = logging.getLogger(__name__)


class WindowsProcess:
    """A sandbox started by `WindowsLauncher`. Reap it with `wait`, after `kill` too."""

    def __init__(self, job: Job, started: Started, folder: Path, spec: SandboxSpec, pipes: Pipes) -> None:
        self._job, self._process, self._folder, self._spec = job, started.process, folder, spec
        self.pid = started.pid
        self.stdin, self.stdout, self.stderr = pipes.stdin, pipes.stdout, pipes.stderr
        self._over_memory = ""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._cleaned: asyncio.Task[None] | None = None
        threading.Thread(target=self._watch, name=f"sandbox {self.pid}", daemon=True).start()

    @property
    def over_memory(self) -> str:
        return self._over_memory

    @property
    def job(self) -> Job:
        """For the self-test, which reads its limits back and gives its handle up."""
        return self._job

    async def wait(self) -> int:
        status = await asyncio.shield(self._ended)
        if self._cleaned is None:
            self._cleaned = asyncio.create_task(self._clean(), name=f"clean sandbox {self.pid}")
        await asyncio.shield(self._cleaned)
        return status

    def kill(self) -> None:
        self._job.end()

    def kill_for_memory(self, why: str) -> None:
        self._over_memory = self._over_memory or why
        self.kill()

    def _watch(self) -> None:
        """On a thread of its own: wait for the first process, then tell the loop, unless that is gone."""
        wait_for(self._process.value)
        code = _exit_code(self._process.value)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._end, code)

    def _end(self, code: int) -> None:
        self._job.end()
        self._process.close()
        self.stdin.close()
        if not self._ended.done():
            self._ended.set_result(exit_status(code))

    async def _clean(self) -> None:
        """Wait until nothing of the sandbox runs, close what it could write, and remove its folder."""
        for _ in range(_GONE_TRIES):
            if self._job.closed or not self._job.active():
                break
            await asyncio.sleep(_GONE_EVERY_S)
        self._job.close()
        try:
            await asyncio.to_thread(_close_folders, self._folder, self._spec)
        except OSError as error:
            raise SandboxUnavailableError(
                f"A folder that a sandbox could write cannot be closed again, so it is not used: {error}."
            ) from error


class WindowsLauncher:
    """Starts sandboxes on this machine, whose self-test `choose_windows` has run."""

    def __init__(
        self,
        home: WindowsHome,
        report: SandboxReport,
        folders: Path | None = None,
        ui_limits: windows.UiLimit = windows.UI_LIMITS,
    ) -> None:
        """
        Args:
            folders: where the folder of each sandbox is made; None: the user's temporary folder.
            ui_limits: less than all only where Windows starts nothing with them.
        """
        self._ui_limits = ui_limits
        self._home = home
        self._report = report
        self._folders = folders or Path(tempfile.gettempdir())
        self._system_root = windows_folder()

    @property
    def report(self) -> SandboxReport:
        return self._report

    def proved(self, report: SandboxReport) -> "WindowsLauncher":
        """The same with another report."""
        return WindowsLauncher(self._home, report, self._folders, self._ui_limits)

    async def launch(self, spec: SandboxSpec) -> WindowsProcess:
        unproved = [uuid for uuid in spec.gpus if uuid not in self._report.gpus]
        if unproved:
            raise SandboxUnavailableError(f"The GPU {unproved[0]} did not work in this machine's sandbox.")
        folder = self._folders / f"{_PREFIX}{os.getpid()}-{token_hex(8)}"
        line = command_line(self._home, spec)
        block = environment_block(environment(self._home, spec, folder, self._system_root))
        for mount in spec.mounts:
            if not mount.host.exists():
                raise SandboxUnavailableError(f"{mount.host} does not exist, so no sandbox can be given it.")
        try:
            with contextlib.ExitStack() as undo:
                make_private_folder(folder)
                undo.callback(_close_folders, folder, spec)
                if spec.writable:
                    await asyncio.to_thread(label_folder, spec.writable.host, windows.WRITABLE_LABEL)
                job = Job(job_limits(spec, os.cpu_count() or 1, self._ui_limits))
                undo.callback(job.close)
                pipes = await open_pipes()
                undo.callback(pipes.close)
                with restricted_token() as token:
                    handles = [handle.value for handle in pipes.inside]
                    started = start_in_job(
                        command=line, block=block, folder=folder, token=token, job=job, handles=handles
                    )
                process = WindowsProcess(job, started, folder, spec, pipes)
                undo.pop_all()
        except OSError as error:
            raise SandboxUnavailableError(f"Windows does not start a sandbox: {error}.") from error
        pipes.close_inside()
        return process


def _exit_code(process: int) -> int:
    code = ctypes.c_uint32()
    call("GetExitCodeProcess", process, ctypes.byref(code))
    return code.value


def _close_folders(folder: Path, spec: SandboxSpec) -> None:
    """Take the sandbox's ways of writing away again. Raises OSError if a folder stays writable to the next sandbox."""
    if spec.writable:
        label_folder(spec.writable.host, windows.CLOSED_LABEL)
    _remove(folder)


def remove_stale_folders(folders: Path) -> None:
    """Remove the folders of sandboxes whose worker was killed. One of a worker that lives beside this one stays."""
    for folder in folders.glob(f"{_PREFIX}*"):
        maker = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if maker.isdecimal() and not psutil.pid_exists(int(maker)):
            _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        _log.warning("%s of a sandbox that has ended cannot be removed", folder)

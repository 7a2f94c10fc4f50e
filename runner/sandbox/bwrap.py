"""Start sandboxes with bubblewrap on Linux.

Promises: the process gets the policy of `bwrap_arguments`, nothing of this process's environment, and no descriptor
but its three pipes; it dies when this process dies, however that happens; `kill` ends all of it at once. Refuses by
`SandboxUnavailableError`. There is no way to start without the sandbox.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from runner.errors import SandboxUnavailableError
from runner.sandbox.base import SandboxReport, SandboxSpec
from runner.sandbox.bwrap_arguments import bwrap_arguments
from runner.sandbox.gpu_nodes import gpu_nodes
from runner.sandbox.process_group import ProcessGroup, ProcessGroups
from runner.sandbox.python_home import PythonHome

_REMOVE_TRIES = 100
_REMOVE_EVERY_S = 0.02
_SIGNALLED = 128


class BwrapProcess:
    """A sandbox started by bubblewrap. Reap it with `wait`, after `kill` too."""

    def __init__(self, process: asyncio.subprocess.Process, group: ProcessGroup | None) -> None:
        self._process = process
        self._group = group
        self._over_memory = ""
        assert process.stdin is not None  # noqa: S101 - all three were asked for as pipes
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        self.stdin: asyncio.StreamWriter = process.stdin
        self.stdout: asyncio.StreamReader = process.stdout
        self.stderr: asyncio.StreamReader = process.stderr

    @property
    def pid(self) -> int:
        """Bubblewrap's own, outside the sandbox; its death ends the sandbox."""
        return self._process.pid

    @property
    def over_memory(self) -> str:
        return self._over_memory

    async def wait(self) -> int:
        status = await self._process.wait()
        if self._group is not None:
            for _ in range(_REMOVE_TRIES):
                if self._group.remove():
                    break
                await asyncio.sleep(_REMOVE_EVERY_S)
        return _SIGNALLED - status if status > _SIGNALLED else status

    def kill(self) -> None:
        if self._process.returncode is None:
            # Not `Process.kill`: it polls, and so may reap the process before asyncio does, which loses its status.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    def kill_for_memory(self, why: str) -> None:
        self._over_memory = self._over_memory or why
        self.kill()


class BwrapLauncher:
    """Starts sandboxes with one bubblewrap program, whose self-test `choose_launcher` has run."""

    def __init__(
        self,
        bwrap: Path,
        home: PythonHome,
        seccomp_filter: Path,
        groups: ProcessGroups | None,
        report: SandboxReport,
    ) -> None:
        self._bwrap = bwrap
        self._home = home
        self._filter = seccomp_filter
        self._groups = groups
        self._report = report

    @property
    def report(self) -> SandboxReport:
        return self._report

    async def launch(self, spec: SandboxSpec) -> BwrapProcess:
        nodes = gpu_nodes(spec.gpus)
        try:
            filter_fd = os.open(self._filter, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SandboxUnavailableError(f"The system call filter {self._filter} cannot be read: {error}.") from error
        group: ProcessGroup | None = None
        started = False
        try:
            arguments = bwrap_arguments(self._bwrap, self._home, spec, filter_fd, nodes)
            group = self._groups.create(spec.processes) if self._groups else None
            process = await self._start(arguments, filter_fd, group.join if group else None)
            started = True
        except (OSError, subprocess.SubprocessError) as error:  # the second: `ProcessGroup.join` failed
            raise SandboxUnavailableError(f"The sandbox program {self._bwrap} cannot be started: {error}.") from error
        finally:
            os.close(filter_fd)
            if group is not None:
                group.close_members()
                if not started:
                    group.remove()
        return BwrapProcess(process, group)

    async def _start(
        self, arguments: tuple[str, ...], filter_fd: int, before: Callable[[], None] | None
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={},
            cwd="/",
            close_fds=True,
            pass_fds=(filter_fd,),
            start_new_session=True,
            preexec_fn=before,
        )

"""Start sandboxes with `sandbox-exec` on a Mac. Not yet run on one: see docs/macos.md.

Promises: the job gets the profile of `macos/profile`, the environment of `macos/arguments` and no descriptor but its
three pipes; a guard process of its own (`macos/keeper`) ends all of it when this process dies or `kill` is called, and
holds the caps that macOS does not. Refuses by `SandboxUnavailableError`. There is no way to start without the sandbox.
"""

import asyncio
import contextlib
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gogrid.sizes import format_size
from runner.errors import SandboxUnavailableError
from runner.sandbox.base import Mount, SandboxReport, SandboxSpec
from runner.sandbox.macos import guard as macos_guard
from runner.sandbox.macos.arguments import JobFolders, MacPython, environment, sandbox_exec_arguments
from runner.sandbox.macos.disk import remove
from runner.sandbox.macos.folders import copy_inputs, make_folders
from runner.sandbox.macos.profile import profile_text
from runner.sandbox.macos.watch import Caps, Ending
from sandbox_profiles import macos

_LONGEST_WORDS = 4096
_PIECE = 512
_OTHER_ENDS = {
    Ending.PROCESSES.value: "It was ended for having too many processes at once.",
    Ending.ROOM.value: "It was ended for filling its folders beyond their size.",
}


class MacProcess:
    """A sandbox with its guard. Reap it with `wait`, after `kill` too."""

    def __init__(self, guard: asyncio.subprocess.Process, lifeline: socket.socket, memory_bytes: int | None) -> None:
        self._guard = guard
        self._lifeline = lifeline
        self._memory_bytes = memory_bytes
        self._over_memory = ""
        self._words = b""
        self._status: int | None = None
        self._listening = True
        asyncio.get_running_loop().add_reader(lifeline, self._hear)
        assert guard.stdin is not None  # noqa: S101 - all three were asked for as pipes
        assert guard.stdout is not None  # noqa: S101
        assert guard.stderr is not None  # noqa: S101
        self.stdin: asyncio.StreamWriter = guard.stdin
        self.stdout: asyncio.StreamReader = guard.stdout
        self.stderr: asyncio.StreamReader = guard.stderr

    @property
    def pid(self) -> int:
        """The guard's, outside the sandbox; the job is its child."""
        return self._guard.pid

    @property
    def over_memory(self) -> str:
        return self._over_memory

    @property
    def ended_for(self) -> str:
        """Why the guard ended it, other than for its memory, in one sentence; empty: it did not."""
        return _OTHER_ENDS.get(self._told.why, "")

    async def wait(self) -> int:
        status = await self._guard.wait()
        if self._status is None:
            while self._hear():
                pass
            told = self._told
            if told.why == Ending.MEMORY.value and self._memory_bytes is not None:
                self.kill_for_memory(f"It used more than {format_size(self._memory_bytes)} of memory.")
            self._status = status if told.status is None else told.status
            self._lifeline.close()
        return self._status

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._lifeline.shutdown(socket.SHUT_WR)

    def kill_for_memory(self, why: str) -> None:
        self._over_memory = self._over_memory or why
        self.kill()

    def _hear(self) -> bool:
        """Take what the guard says; false: that was all. If it is gone without a last word, so is its job."""
        if not self._listening:
            return False
        try:
            piece = self._lifeline.recv(_PIECE)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        if piece and len(self._words) < _LONGEST_WORDS:
            self._words += piece
            return True
        asyncio.get_running_loop().remove_reader(self._lifeline)
        self._listening = False
        told = self._told
        if told.status is None and told.job is not None:
            with contextlib.suppress(OSError):
                os.killpg(told.job, signal.SIGKILL)
        return False

    @property
    def _told(self) -> "_Told":
        job: int | None = None
        status: int | None = None
        why = ""
        for line in self._words.decode(errors="replace").splitlines():
            match line.split(" ", 2):
                case ["job", number]:
                    job = int(number)
                case ["ended", number, words]:
                    status, why = int(number), words
        return _Told(job, status, why)


class _Told(NamedTuple):
    """What a guard has said so far."""

    job: int | None
    status: int | None
    why: str


class MacLauncher:
    """Starts sandboxes with one `sandbox-exec` program, whose self-test `choose_macos_launcher` has run."""

    def __init__(
        self,
        python: MacPython,
        base: Path,
        report: SandboxReport,
        *,
        sandbox_exec: str = macos.SANDBOX_EXEC,
        guard: Path = Path(macos_guard.__file__),
        home: str | None = None,
    ) -> None:
        """Args:
        base: where each job's folders are made.
        home: the folder of the user who runs the worker; None: as the system says.
        """
        self._python = python
        self._base = base
        self._report = replace(report, remaps=False)
        self._sandbox_exec = sandbox_exec
        self._guard = guard
        self._home = os.path.realpath(home or os.path.expanduser("~"))

    @property
    def report(self) -> SandboxReport:
        return self._report

    def proved(self, report: SandboxReport) -> "MacLauncher":
        """The same with what its self-test proved."""
        return MacLauncher(
            self._python,
            self._base,
            report,
            sandbox_exec=self._sandbox_exec,
            guard=self._guard,
            home=self._home,
        )

    async def launch(self, spec: SandboxSpec) -> MacProcess:
        if unproved := set(spec.gpus) - set(self._report.gpus):
            raise SandboxUnavailableError(f"The GPU {min(unproved)!r} was not seen working in a sandbox on this Mac.")
        spec = _canonical(spec)
        profile = profile_text(gpu=bool(spec.gpus))
        try:
            folders = await asyncio.to_thread(make_folders, self._base)
        except OSError as error:
            raise SandboxUnavailableError(f"No folder can be made for a job in {self._base}: {error}.") from error
        started = False
        try:
            arguments = sandbox_exec_arguments(self._sandbox_exec, profile, self._python, folders, spec, self._home)
            await asyncio.to_thread(copy_inputs, folders, spec.mounts)
            process = await self._start(arguments, folders, spec)
            started = True
        except OSError as error:
            raise SandboxUnavailableError(f"The sandbox cannot be started: {error}.") from error
        finally:
            if not started:
                await asyncio.to_thread(remove, folders.root)
        return process

    async def _start(self, arguments: tuple[str, ...], folders: JobFolders, spec: SandboxSpec) -> MacProcess:
        caps = Caps(
            memory_bytes=-1 if spec.memory_bytes is None else spec.memory_bytes,
            processes=spec.processes,
            room_bytes=spec.tmp_bytes + spec.out_bytes + _inputs_bytes(spec),
        )
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            guard = await asyncio.create_subprocess_exec(
                *(self._python.executable, "-I", "-S", "-B", str(self._guard)),
                *(str(theirs.fileno()), caps.encode(), folders.root),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment(self._python, folders, spec),
                cwd=folders.temporary,
                close_fds=True,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return MacProcess(guard, ours, spec.memory_bytes)


def _canonical(spec: SandboxSpec) -> SandboxSpec:
    """The same with all links of its host paths resolved. Raises `SandboxUnavailableError` if one is not there."""

    def resolved(mount: Mount) -> Mount:
        try:
            return replace(mount, host=mount.host.resolve(strict=True))
        except (OSError, ValueError) as error:
            raise SandboxUnavailableError(f"{mount.host} cannot be shown in a sandbox: {error}.") from error

    writable = resolved(spec.writable) if spec.writable else None
    return replace(spec, mounts=tuple(resolved(mount) for mount in spec.mounts), writable=writable)


def _inputs_bytes(spec: SandboxSpec) -> int:
    """The copies of the inputs lie in the folder that is measured."""
    return sum(path.stat().st_blocks * 512 for mount in spec.mounts for path in (mount.host, *mount.host.rglob("*")))

"""Any launcher, with the memory guard over everything that it starts.

Promises: no sandbox runs unwatched, from its first moment to its kill or its end; the sentence that names its use and
the cap is the process's `over_memory`. Which cap counts follows from the spec: an executor's share of the device's
memory, a script's own limits.
"""

import asyncio

from runner.sandbox.base import Launcher, SandboxedProcess, SandboxReport, SandboxSpec
from runner.serving.memory_guard import Caps, MemoryGuard, Share, Watched


class WatchedProcess:
    """Implements `SandboxedProcess`."""

    def __init__(self, process: SandboxedProcess, guard: MemoryGuard, share: Share) -> None:
        self._process, self._guard = process, guard
        looked = self._end_if_starved if share.bound else _nothing
        self._watched: Watched = guard.watch(process.pid, share, self._over, looked)

    @property
    def stdin(self) -> asyncio.StreamWriter:
        return self._process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        return self._process.stdout

    @property
    def stderr(self) -> asyncio.StreamReader:
        return self._process.stderr

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def over_memory(self) -> str:
        return self._process.over_memory

    async def wait(self) -> int:
        try:
            return await self._process.wait()
        finally:
            self._guard.forget(self._watched)

    def kill(self) -> None:
        self._guard.forget(self._watched)
        self._process.kill()

    def kill_for_memory(self, why: str) -> None:
        self._guard.forget(self._watched)
        self._process.kill_for_memory(why)

    def _over(self, why: str) -> None:
        self._process.kill_for_memory(f"It {why}.")

    def _end_if_starved(self) -> None:
        """The kernel may kill one process of a script for the limit of all: the others do not go on without it."""
        if self._process.over_memory:
            self.kill()


def _nothing() -> None:
    """A model's process has no others that could go on without it."""


class WatchedLauncher:
    """Implements `Launcher`."""

    def __init__(self, launcher: Launcher, guard: MemoryGuard) -> None:
        self._launcher, self._guard = launcher, guard

    @property
    def report(self) -> SandboxReport:
        return self._launcher.report

    async def launch(self, spec: SandboxSpec) -> WatchedProcess:
        process = await self._launcher.launch(spec)
        return WatchedProcess(process, self._guard, share_of(spec, self._guard.caps))


def share_of(spec: SandboxSpec, caps: Caps) -> Share:
    """What a sandbox may use. A script with a GPU may use all that is lent of it, and no more."""
    if spec.share_bytes is not None:
        return Share(gpu_memory=spec.share_bytes) if spec.gpus else Share(memory=spec.share_bytes)
    return Share(memory=spec.memory_bytes, gpu_memory=caps.gpu_memory if spec.gpus else None, bound=True)

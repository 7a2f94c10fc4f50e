"""A launcher for tests: real processes behind the real seam, without a sandbox, and whatever program the test wants."""

import asyncio
import os
import signal
import sys
from contextlib import suppress

from runner.sandbox.base import SandboxedProcess, SandboxReport, SandboxSpec


class PlainProcess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.stdin, self.stdout, self.stderr, self.pid = process.stdin, process.stdout, process.stderr, process.pid
        self._process = process
        self._over_memory = ""

    @property
    def over_memory(self) -> str:
        return self._over_memory

    async def wait(self) -> int:
        return await self._process.wait()

    def kill(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def kill_for_memory(self, why: str) -> None:
        self._over_memory = self._over_memory or why
        self.kill()


class PlainLauncher:
    """Runs the real executor, or `program` (Python text) in its place; remembers what it was asked for."""

    def __init__(self, program: str = "") -> None:
        self.program = program
        self.specs: list[SandboxSpec] = []
        self.processes: list[PlainProcess] = []

    @property
    def report(self) -> SandboxReport:
        return SandboxReport("plain", ("nothing",), (), python_jobs=True)

    async def launch(self, spec: SandboxSpec) -> SandboxedProcess:
        self.specs.append(spec)
        arguments = ("-c", self.program) if self.program else ("-m", *spec.arguments)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
        self.processes.append(PlainProcess(process))
        return self.processes[-1]

    @property
    def alive(self) -> int:
        return sum(process._process.returncode is None for process in self.processes)

"""What all steps share: the machine under test, and how a script or an engine is run in its sandbox."""

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gogrid.ids import Sha256
from gogrid.protocol.job_messages import JobMessage, Log, OutputFile, PythonDone
from gogrid.protocol.tasks import InputFile, PythonLimits, PythonTask
from gogrid.protocol.worker_report import DeviceKind
from runner.probes.gpu_memory import GpuMemory
from runner.probes.process_memory import process_memory
from runner.python_job.run import run_python
from runner.sandbox.base import Launcher, SandboxedProcess, SandboxReport, SandboxSpec

_LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class Bench:
    launcher: Launcher
    kind: DeviceKind
    """CUDA; tests of the check itself use the CPU."""
    gpus: tuple[str, ...]
    memory: Callable[[], GpuMemory]
    """A new one for each that looks: none is for two threads at once."""
    total_bytes: int
    """Of the device."""
    folder: Path
    """For files of the check alone."""


class Remembering:
    """A launcher that keeps the last process it started."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self.last: SandboxedProcess | None = None

    @property
    def report(self) -> SandboxReport:
        return self._launcher.report

    async def launch(self, spec: SandboxSpec) -> SandboxedProcess:
        self.last = await self._launcher.launch(spec)
        return self.last


async def run_script(
    bench: Bench, launcher: Launcher, source: str, *arguments: str, wall_s: float = 120.0
) -> tuple[PythonDone, str]:
    """Run a script as a job with the GPU granted; how it ended, and all that it printed."""
    path = bench.folder / "main.py"
    path.write_text(source)
    content = source.encode()
    file = InputFile(name="main.py", sha256=Sha256(hashlib.sha256(content).hexdigest()), size=len(content))
    limits = PythonLimits(memory_bytes=16 << 30, cpu_cores=2.0, wall_s=wall_s)
    task = PythonTask(files=(file,), entry="main.py", arguments=(bench.kind.value, *arguments), limits=limits)
    printed: list[bytes] = []

    async def hear(message: JobMessage) -> None:
        if isinstance(message, Log):
            printed.append(message.data)

    async def keep(name: str, pieces: AsyncIterator[bytes]) -> OutputFile:
        raise AssertionError(f"{name} was not expected")

    done = await run_python(launcher, task, {"main.py": path}, hear, keep, asyncio.Event(), bench.gpus)
    return done, b"".join(printed).decode(errors="replace")


def last_object(printed: str) -> dict[str, float | str | bool]:
    """The JSON object of the last line; empty where there is none."""
    try:
        found = json.loads(printed.strip().rpartition("\n")[2])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(slots=True)
class Seen:
    """What the driver told of one sandbox while it ran."""

    most: int = 0
    over_since: float | None = None
    """Monotonic seconds of the first look above the cap."""


@asynccontextmanager
async def watched(bench: Bench, launcher: Remembering, cap: int, every_s: float = _LOOK_EVERY_S) -> AsyncIterator[Seen]:
    """Look at the last sandbox that the launcher started, apart from the guard."""
    seen, tree, memory = Seen(), process_memory(), bench.memory()

    def look() -> int:
        if launcher.last is None:
            return 0
        held = memory.look().by_pid
        return sum(held.get(pid) or 0 for pid in tree.tree(launcher.last.pid))

    async def looking() -> None:
        while True:
            now, held = time.monotonic(), await asyncio.to_thread(look)
            seen.most = max(seen.most, held)
            if held > cap and seen.over_since is None:
                seen.over_since = now
            await asyncio.sleep(every_s)

    task = asyncio.create_task(looking())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        memory.close()


class Outside:
    """The same programs without a sandbox, to compare speeds with; for nothing but this check."""

    report = SandboxReport("none", (), (), python_jobs=False, remaps=False)

    async def launch(self, spec: SandboxSpec) -> SandboxedProcess:
        return _Plain(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *spec.arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        )


class _Plain:
    over_memory = ""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.stdin, self.stdout, self.stderr, self.pid = process.stdin, process.stdout, process.stderr, process.pid
        self._process = process

    async def wait(self) -> int:
        return await self._process.wait()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    def kill_for_memory(self, why: str) -> None:
        self.kill()

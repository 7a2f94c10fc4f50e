"""The cap in the real sandbox, where no memory control group helps: nothing stays above it for longer than a second."""

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gpu_check.bench import Remembering
from gogrid.ids import Sha256
from gogrid.protocol.job_messages import JobMessage, OutputFile, PythonDone, PythonEnd
from gogrid.protocol.tasks import InputFile, PythonLimits, PythonTask
from gogrid.protocol.worker_report import DeviceKind
from runner.errors import ModelError
from runner.executor.messages import Load
from runner.probes.process_memory import process_memory
from runner.python_job.run import run_python
from runner.sandbox.base import Launcher, Mount, SandboxSpec
from runner.sandbox.choose import choose_launcher
from runner.sandbox.linux.launcher import BwrapLauncher
from runner.serving.executor_client import start_executor
from runner.serving.memory_guard import Caps, MemoryGuard
from runner.serving.watched_launcher import WatchedLauncher
from tests import torch_models

MIB = 1 << 20
SPREAD = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        held = []
        while True:
            held.append(bytearray(b"x" * (1 << 20)))
            time.sleep(0.01)
time.sleep(60)
"""
pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="the sandbox of Linux"),
]


class Overshoot:
    longest_s = 0.0
    """Above the cap at a stretch, as seen every 10 ms."""
    most = 0


@asynccontextmanager
async def measured(launcher: Remembering, cap: int) -> AsyncIterator[Overshoot]:
    seen, memory = Overshoot(), process_memory()

    async def look() -> None:
        since: float | None = None
        while True:
            held = memory.exact(memory.tree(launcher.last.pid)) if launcher.last is not None else 0
            since = (since or time.monotonic()) if held > cap else None
            seen.most = max(seen.most, held)
            seen.longest_s = max(seen.longest_s, time.monotonic() - since if since else 0.0)
            await asyncio.sleep(0.01)

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()


@pytest.fixture
async def launcher() -> Launcher:
    """The machine's sandbox without its control groups, so that only the guard is left."""
    found = await choose_launcher()
    assert isinstance(found, BwrapLauncher)
    return BwrapLauncher(replace(found._program, groups=None), found.report)


def guarded(launcher: Launcher, cap: int) -> Remembering:
    return Remembering(WatchedLauncher(launcher, MemoryGuard(Caps(cap), time.monotonic)))


async def run(launcher: Launcher, source: str, folder: Path, memory: int) -> PythonDone:
    path, content = folder / "main.py", source.encode()
    path.write_bytes(content)
    file = InputFile(name="main.py", sha256=Sha256(hashlib.sha256(content).hexdigest()), size=len(content))
    task = PythonTask(files=(file,), entry="main.py", limits=PythonLimits(memory_bytes=memory, wall_s=30.0))

    async def hear(message: JobMessage) -> None:
        pass

    async def keep(name: str, pieces: AsyncIterator[bytes]) -> OutputFile:
        raise AssertionError(name)

    return await run_python(launcher, task, {"main.py": path}, hear, keep, asyncio.Event())


async def test_a_script_that_spreads_its_memory_over_processes_is_killed(launcher: Launcher, tmp_path: Path) -> None:
    """No process is over the limit of each; only all together are."""
    limit = 256 * MIB
    watched = guarded(launcher, 8192 * MIB)
    async with measured(watched, limit) as seen:
        done = await run(watched, SPREAD, tmp_path, limit)
    assert done.ended is PythonEnd.MEMORY
    assert "its limit is 268 MB" in done.detail
    assert seen.most > limit
    assert seen.longest_s <= 1.0


async def test_an_executor_that_outgrows_the_cap_is_killed_and_says_so(launcher: Launcher) -> None:
    """Its engine believes that it was granted 8 GB."""
    torch_models.need_engine()
    cap = 200 * MIB
    watched = guarded(launcher, cap)
    mount = Mount(torch_models.minilm(), "/models/current")
    load = Load(engine="torch", model_path=mount.inside, device=DeviceKind.CPU, threads=1, cap_bytes=8 << 30)
    spec = SandboxSpec(("runner.executor",), mounts=(mount,), share_bytes=cap, address_space=False)
    async with measured(watched, cap) as seen:
        with pytest.raises(ModelError) as failed:
            await start_executor(watched, spec, load, "greedy", lambda loading: None)
    assert "The model could not be loaded: its process was killed for its memory: it used 2" in str(failed.value)
    assert str(failed.value).endswith("and its owner lends 210 MB.")
    assert seen.most > cap
    assert seen.longest_s <= 1.0

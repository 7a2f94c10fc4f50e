"""Models and scripts in the real sandbox of this machine, through the runner's own parts."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from gogrid.ids import JobId
from gogrid.manifest import ModelFile, ModelManifest, digest_of, encode_manifest
from gogrid.protocol.job_messages import FailCode, Failed, Finished, Log, PythonDone, Tokens
from gogrid.protocol.messages import Assign
from gogrid.protocol.tasks import ChatMessage, ChatTask, InputFile, ModelRef, PythonTask, Sampling
from gogrid.protocol.worker_report import Device, DeviceKind
from runner.facts import Facts, sandbox_words
from runner.models.cache import ModelCache
from runner.models.disk import ModelDisk, delete_tree
from runner.probes.choose import Chosen
from runner.sandbox.base import Launcher
from runner.sandbox.choose import choose_launcher
from runner.scripts import ScriptRunner
from runner.serving.bring import Engine
from runner.serving.pool import ExecutorPool
from runner.work import Work
from tests.fakes.job_stream import MemoryStream
from tests.fakes.local_models import MemoryBlobs

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is for Linux"),
]
CAP = 4 << 30


class Grid:
    def __init__(self, root: Path, launcher: Launcher) -> None:
        self.root, self.blobs = root, MemoryBlobs()
        disk = ModelDisk(root / "models")
        self.cache = ModelCache(disk, self.blobs, 10**9, time.time)
        self.cache.open()
        engine = Engine(DeviceKind.CPU, (), CAP, 1, ("echo", "torch"))
        self.pool = ExecutorPool(launcher, self.cache, disk, engine, held=lambda: 0, clock=time.monotonic)
        self.scripts = ScriptRunner(launcher, self.blobs, root / "jobs")
        cpu = Device(kind=DeviceKind.CPU, name="test", memory_bytes=CAP, cap_bytes=CAP, why="CPU: a test")
        facts = Facts(
            software="gogrid/test",
            hostname="test",
            platform="linux-x86_64",
            device=Chosen(DeviceKind.CPU, (), CAP, "CPU: a test", (cpu,)),
            engines=("echo", "torch"),
            cores=2,
            script_memory=CAP,
            sandbox=sandbox_words(launcher.report),
            python_jobs=launcher.report.python_jobs,
            problem="",
        )
        self.work = Work(facts, pool=self.pool, cache=self.cache, scripts=self.scripts, clock=time.monotonic)

    def assign(self, assign: Assign) -> MemoryStream:
        stream = MemoryStream(assign.job_id, assign.epoch)
        self.work.assigned(assign, stream)
        return stream

    def python(self, name: str, code: bytes) -> MemoryStream:
        file = InputFile(name="main.py", sha256=self.blobs.add(code), size=len(code))
        return self.assign(Assign(job_id=JobId(name), epoch=1, task=PythonTask(files=(file,), entry="main.py")))


@pytest.fixture
async def grid(tmp_path: Path) -> AsyncIterator[Grid]:
    made = Grid(tmp_path / "g", await choose_launcher())
    yield made
    await made.work.close()
    await made.pool.close()
    await made.cache.close()
    delete_tree(tmp_path / "g")


async def ended(stream: MemoryStream) -> None:
    async with asyncio.timeout(90):  # a sandbox that imports torch on a busy machine
        await stream.ended.wait()


def chat(grid: Grid, name: str, text: str) -> MemoryStream:
    task = ChatTask(
        model=ModelRef(name="echo", digest=grid.blobs.echo_model(1000)),
        messages=(ChatMessage(role="user", content=text),),
        sampling=Sampling(),
    )
    return grid.assign(Assign(job_id=JobId(name), epoch=1, task=task))


async def test_a_chat_through_a_real_sandbox_and_no_process_stays(grid: Grid) -> None:
    streams = [chat(grid, f"job_{n}", f"hello number {n}") for n in range(5)]
    for stream in streams:
        await ended(stream)
        assert isinstance(stream.last, Finished)
    assert "".join(m.text for m in streams[4].messages if isinstance(m, Tokens)) == "hello number 4"
    await grid.pool.close()
    assert grid.pool.memory_held == 0


async def test_a_killed_executor_fails_its_requests_and_the_next_one_works(grid: Grid) -> None:
    victim = chat(grid, "job_1", "#echo chunks=100000 delay_ms=2\nx")
    async with asyncio.timeout(20):
        while not any(isinstance(message, Tokens) for message in victim.messages):
            await asyncio.sleep(0.01)
    grid.pool.kill()
    await ended(victim)
    assert isinstance(victim.last, Failed)
    assert victim.last.code is FailCode.CRASHED
    await ended(after := chat(grid, "job_2", "fine"))
    assert isinstance(after.last, Finished)


async def test_a_frozen_executor_is_found_inside_its_sandbox(grid: Grid) -> None:
    """What stops is a child of the sandbox program, not the process that the runner started."""
    victim = chat(grid, "job_1", "#echo chunks=100000 delay_ms=2\nx")
    async with asyncio.timeout(20):
        while not any(isinstance(message, Tokens) for message in victim.messages):
            await asyncio.sleep(0.01)
    programs = [
        one for one in psutil.Process().children(recursive=True) if "runner.executor" in " ".join(one.cmdline())
    ]
    inside = max(programs, key=lambda one: (one.create_time(), one.pid))
    inside.send_signal(signal.SIGSTOP)
    await ended(victim)
    assert isinstance(victim.last, Failed)
    assert "stopped from outside" in victim.last.message
    await ended(after := chat(grid, "job_2", "fine"))
    assert isinstance(after.last, Finished)
    assert not inside.is_running() or inside.status() == psutil.STATUS_ZOMBIE


async def test_a_scripts_files_go_in_and_its_results_come_out(grid: Grid) -> None:
    code = b"print('said'); open('result.txt', 'w').write('left')"
    await ended(stream := grid.python("job_1", code))
    assert isinstance(stream.last, Finished)
    result = stream.last.result
    assert isinstance(result, PythonDone)
    assert (result.exit_code, result.ended) == (0, "ok")
    assert [(file.name, file.sha256) for file in result.files] == [("result.txt", digest_of(b"left"))]
    assert grid.blobs.stored == {digest_of(b"left"): b"left"}
    assert b"".join(m.data for m in stream.messages if isinstance(m, Log)) == b"said\n"
    assert list((grid.root / "jobs").iterdir()) == []


async def test_a_cancelled_script_is_gone_with_its_files(grid: Grid) -> None:
    stream = grid.python("job_1", b"import time\nprint('up', flush=True)\ntime.sleep(60)")
    async with asyncio.timeout(20):
        while not any(isinstance(message, Log) for message in stream.messages):
            await asyncio.sleep(0.01)
    (job,) = grid.work.jobs
    grid.work.lost(grid.work.held())
    assert job.task is not None
    await asyncio.wait((job.task,), timeout=5)
    assert job.task.done()
    assert not stream.ended.is_set()
    assert list((grid.root / "jobs").iterdir()) == []


@pytest.mark.torch
async def test_a_gguf_model_whose_conversion_fails_is_unusable_and_leaves_nothing(grid: Grid) -> None:
    pytest.importorskip("torch")
    data = b"GGUF but not really"
    manifest = ModelManifest(
        kind="chat",
        engine="torch",
        format="gguf",
        context_length=10,
        width=0,
        memory_bytes=1000,
        files=(ModelFile("model.gguf", grid.blobs.add(data), len(data)),),
    )
    digest = grid.blobs.add(encode_manifest(manifest))
    task = ChatTask(
        model=ModelRef(name="bad", digest=digest),
        messages=(ChatMessage(role="user", content="x"),),
        sampling=Sampling(),
    )
    await ended(stream := grid.assign(Assign(job_id=JobId("job_1"), epoch=1, task=task)))
    assert isinstance(stream.last, Failed)
    assert stream.last.code in (FailCode.MODEL_UNUSABLE, FailCode.CRASHED)
    assert list((grid.root / "models" / "converted").iterdir()) == []
    assert grid.pool.memory_held == 0

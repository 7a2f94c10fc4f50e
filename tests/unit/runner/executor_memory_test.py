"""The admission estimate against real models on the CPU: an upper bound, and what the engine says is what it holds.

Tolerance: estimate - 700 MB <= used <= estimate, and the engine's own number within 10 % + 80 MB of what it used.
"""

import asyncio
from pathlib import Path

import pytest

from coordinator.models.folder import inspect_model
from gogrid.ids import Sha256
from gogrid.protocol.job_messages import Failed, Finished, JobMessage
from gogrid.protocol.tasks import CompletionTask, EmbeddingTask, ModelRef, Sampling
from gogrid.protocol.worker_report import DeviceKind
from runner.executor.messages import Load, Ready
from runner.probes.process_memory import process_memory
from runner.sandbox.base import SandboxSpec
from runner.serving.executor_client import ExecutorClient, ModelTask, start_executor
from tests import torch_models
from tests.fakes.plain_launcher import PlainLauncher

MB = 10**6
REF = ModelRef(name="m", digest=Sha256("0" * 64))
pytestmark = [pytest.mark.torch, pytest.mark.timeout(400)]


async def serve(folder: Path, cap: int, tasks: list[ModelTask]) -> tuple[Ready, int]:
    """Load at a cap and answer all tasks at once; returns what the engine said and the most that it held."""
    launcher, memory, most = PlainLauncher(), process_memory(), 0
    load = Load(engine="torch", model_path=str(folder), device=DeviceKind.CPU, threads=2, cap_bytes=cap)

    async def watch() -> None:
        nonlocal most
        while True:
            most = max([most, *(memory.bound(memory.tree(process.pid)) for process in launcher.processes)])
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    client, ready = await start_executor(launcher, SandboxSpec(("runner.executor",)), load, "m", lambda loading: None)
    ends = await asyncio.gather(*(_answer(client, task) for task in tasks))
    assert all(isinstance(end, Finished) for end in ends), ends
    watching.cancel()
    await client.close()
    return ready, most


async def _answer(client: ExecutorClient, task: ModelTask) -> JobMessage:
    ended: asyncio.Future[JobMessage] = asyncio.get_running_loop().create_future()

    def sink(message: JobMessage) -> None:
        if isinstance(message, Finished | Failed):
            ended.set_result(message)

    client.submit(task, sink)
    return await ended


async def test_a_chat_model_uses_at_most_its_estimate() -> None:
    folder = torch_models.smollm2()
    estimate = inspect_model(folder).memory_bytes
    prompt = tuple(range(100, 200))
    tasks: list[ModelTask] = [CompletionTask(model=REF, prompt=prompt, sampling=Sampling(max_tokens=4))] * 16
    ready, used = await serve(folder, estimate, tasks)
    assert estimate - 700 * MB <= used <= estimate, (estimate / MB, used / MB)
    assert abs(ready.memory_bytes - used) <= 0.1 * used + 80 * MB, (ready.memory_bytes / MB, used / MB)
    assert ready.context_length == 8192


async def test_an_embedding_model_uses_at_most_its_estimate() -> None:
    folder = torch_models.minilm()
    estimate = inspect_model(folder).memory_bytes
    ready, used = await serve(folder, estimate, [EmbeddingTask(model=REF, inputs=("word " * 200,) * 16)] * 4)
    assert estimate - 700 * MB <= used <= estimate, (estimate / MB, used / MB)
    assert abs(ready.memory_bytes - used) <= 0.1 * used + 80 * MB, (ready.memory_bytes / MB, used / MB)

"""Executors in the real sandbox, started as the runner does, with a folder where a payload could leave its marker."""

import asyncio
from pathlib import Path

from gogrid.protocol.worker_report import DeviceKind
from runner.executor.messages import Load
from runner.sandbox.base import Launcher, Mount, SandboxSpec
from runner.serving.executor_client import ExecutorClient, start_executor

MODEL_INSIDE, MARKERS_INSIDE = "/models/current", "/models/converted"


async def start(launcher: Launcher, engine: str, model: Path, markers: Path) -> ExecutorClient:
    """Raises `ModelError` where the model cannot be loaded."""
    shown, writable = Mount(model, MODEL_INSIDE), Mount(markers, MARKERS_INSIDE)
    spec = SandboxSpec(
        arguments=("runner.executor",), mounts=(shown,), writable=writable, memory_bytes=4 << 30, address_space=False
    )
    load = Load(
        engine=engine,
        model_path=shown.seen(launcher.report),
        device=DeviceKind.CPU,
        threads=1,
        cap_bytes=2 << 30,
        work_path=writable.seen(launcher.report),
    )
    client, _ = await asyncio.wait_for(start_executor(launcher, spec, load, "evil", lambda _: None), 90)
    return client


async def start_and_close(launcher: Launcher, engine: str, model: Path, markers: Path) -> None:
    await (await start(launcher, engine, model, markers)).close()

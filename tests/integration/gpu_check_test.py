"""The steps of `make gpu-check` in the real sandbox, on the CPU: main memory takes the GPU's place."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.gpu_check.bench import Bench
from benchmarks.gpu_check.steps import fraction, matmul, watchdog
from gogrid.protocol.worker_report import DeviceKind
from runner.probes.gpu_memory import GpuUse
from runner.probes.process_memory import process_memory
from runner.sandbox.choose import choose_launcher
from tests import torch_models

pytestmark = [
    pytest.mark.torch,
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="the sandbox of Linux"),
]


class MainMemory:
    """A driver that tells main memory, of every process below this one."""

    def look(self) -> GpuUse:
        memory = process_memory()
        held: dict[int, int | None] = {pid: memory.bound((pid,)) for pid in memory.tree(os.getpid())}
        return GpuUse(1 << 40, sum(size or 0 for size in held.values()), held)

    def close(self) -> None:
        pass


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    torch_models.need_engine()
    return Bench(await choose_launcher(), DeviceKind.CPU, (), MainMemory, 1 << 40, tmp_path)


async def test_a_matmul_inside_is_right(bench: Bench) -> None:
    step = await matmul(bench, 128)
    assert step.ok, step
    assert "cuInit 0, CPU, off by" in step.detail


async def test_a_script_that_ignores_the_cap_is_killed_within_a_second(bench: Bench) -> None:
    step = await watchdog(bench, 700 << 20)
    assert step.ok, step
    assert "its owner lends 734 MB" in step.detail


async def test_a_step_that_breaks_is_a_failure_with_its_last_words(bench: Bench) -> None:
    step = await fraction(bench, 1 << 20)
    assert not step.ok
    assert "Torch not compiled with CUDA" in step.detail or "NVIDIA" in step.detail

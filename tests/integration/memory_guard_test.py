"""The memory guard over real processes: who uses too much dies within a second, in words; at rest it costs nothing."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runner.probes.nvidia_memory import NvidiaMemory
from runner.probes.process_memory import LinuxMemory, PortableMemory, ProcessMemory, process_memory
from runner.sandbox.base import SandboxSpec
from runner.serving import next_look
from runner.serving.memory_guard import Caps, MemoryGuard, Share
from runner.serving.watched_launcher import WatchedLauncher, WatchedProcess
from tests.fakes.fake_nvml import MIB, FakeGpu, FakeNvml
from tests.fakes.plain_launcher import PlainLauncher

HOLD = """
import time
x = bytearray(b"x" * ({mib} << 20))
print(1, flush=True)
time.sleep(60)
"""
GROW = """
import time
x = []
while True:
    x.append(bytearray(b"x" * (4 << 20)))
    time.sleep(0.005)
"""
FORKS = """
import ctypes, os, time
x = bytearray(b"x" * (60 << 20))
for _ in range(5):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, 9)  # dies with its parent, as in a sandbox
        break
else:
    print(1, flush=True)
time.sleep(60)
"""
SPREAD = """
import ctypes, os, time
for _ in range(4):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, 9)
        x = bytearray(b"x" * (60 << 20))
        break
else:
    print(1, flush=True)
time.sleep(60)
"""
SPEC = SandboxSpec(("none",))


def guard(caps: Caps, nvml: FakeNvml | None = None) -> MemoryGuard:
    return MemoryGuard(caps, time.monotonic, NvidiaMemory(nvml, ("one",)) if nvml is not None else None)


@asynccontextmanager
async def running(
    guard: MemoryGuard, program: str, spec: SandboxSpec = SPEC, *, ready: bool = True
) -> AsyncIterator[WatchedProcess]:
    process = await WatchedLauncher(PlainLauncher(program), guard).launch(spec)
    try:
        if ready:
            await process.stdout.readline()
        yield process
    finally:
        process.kill()
        await process.wait()


async def ended(process: WatchedProcess, within_s: float) -> float:
    """Seconds that it took to end."""
    begun = time.monotonic()
    async with asyncio.timeout(within_s):
        await process.wait()
    return time.monotonic() - begun


async def test_a_process_that_grows_past_the_cap_is_killed_within_a_second_of_overshoot() -> None:
    watch = guard(Caps(150 * MIB))
    async with running(watch, GROW, SandboxSpec(("none",), share_bytes=100 * MIB), ready=False) as process:
        memory, over_since, longest = process_memory(), 0.0, 0.0
        async with asyncio.timeout(20):
            ending = asyncio.create_task(process.wait())
            while not ending.done():
                if memory.bound((process.pid,)) > 150 * MIB:
                    over_since = over_since or time.monotonic()
                    longest = time.monotonic() - over_since
                await asyncio.sleep(0.01)
        assert over_since
        assert longest <= 1.0
        assert process.over_memory.startswith("It used ")
        assert process.over_memory.endswith(" of memory and its owner lends 157 MB.")


async def test_a_script_within_the_cap_but_over_its_own_limit_is_killed() -> None:
    watch = guard(Caps(10_000 * MIB))
    async with running(watch, SPREAD, SandboxSpec(("none",), memory_bytes=100 * MIB), ready=False) as process:
        assert await ended(process, 10) < 10
        assert "its limit is 105 MB" in process.over_memory


async def test_a_script_is_not_left_alone_until_the_next_look_at_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_look, "SELDOM_S", 3600.0)
    watch = guard(Caps(10_000 * MIB))
    async with running(watch, HOLD.format(mib=1), SandboxSpec(("none",), share_bytes=100 * MIB)) as model:
        looked = asyncio.Event()
        watch.watch(model.pid, Share(memory=100 * MIB), lambda _why: None, looked.set)
        async with asyncio.timeout(20):
            await looked.wait()
        script = SandboxSpec(("none",), memory_bytes=100 * MIB)
        async with running(watch, HOLD.format(mib=400), script, ready=False) as process:
            assert await ended(process, 20) < 20


async def test_what_the_sandbox_itself_takes_is_not_counted_against_a_script() -> None:
    watch = guard(Caps(10_000 * MIB))
    async with running(watch, HOLD.format(mib=100), SandboxSpec(("none",), memory_bytes=102 * MIB)) as process:
        assert process_memory().bound((process.pid,)) > 102 * MIB
        await asyncio.sleep(0.8)
        assert not process.over_memory


async def test_memory_that_forked_processes_share_counts_once() -> None:
    watch = guard(Caps(10_000 * MIB))
    async with running(watch, FORKS, SandboxSpec(("none",), memory_bytes=150 * MIB)) as process:
        memory = process_memory()
        tree = memory.tree(process.pid)
        assert len(tree) == 6
        if isinstance(memory, LinuxMemory):
            assert memory.bound(tree) > 300 * MIB > 150 * MIB > memory.exact(tree) > 60 * MIB
            await asyncio.sleep(1.2)
            assert not process.over_memory


async def test_models_together_over_the_cap_cost_the_one_that_grew() -> None:
    watch = guard(Caps(200 * MIB))
    good, bad = SandboxSpec(("none",), share_bytes=120 * MIB), SandboxSpec(("none",), share_bytes=60 * MIB)
    async with running(watch, HOLD.format(mib=90), good) as first, running(watch, HOLD.format(mib=130), bad) as second:
        await ended(second, 2)
        assert "its share was 62.9 MB" in second.over_memory
        await asyncio.sleep(0.6)
        assert not first.over_memory


@pytest.mark.parametrize(
    "spec", [SandboxSpec(("none",), gpus=("one",), share_bytes=4 << 30), SandboxSpec(("none",), gpus=("one",))]
)
async def test_gpu_memory_beyond_the_cap_kills_by_host_process_ids(spec: SandboxSpec) -> None:
    """The process that holds it is a child of the sandbox's first one, as in a real sandbox."""
    nvml = FakeNvml(one=FakeGpu(compute={os.getpid(): 20_000 * MIB}))
    watch = guard(Caps(10_000 * MIB, 1000 * MIB), nvml)
    async with running(watch, SPREAD, spec) as process:
        child = max(process_memory().tree(process.pid) - {process.pid})
        nvml.gpus["one"].compute[child] = 900 * MIB
        await asyncio.sleep(0.8)
        assert not process.over_memory
        nvml.gpus["one"].compute[child] = 1100 * MIB
        assert await ended(process, 2) < 1.0
        assert "used 1.2 GB of GPU memory" in process.over_memory
        assert "1.0 GB" in process.over_memory
    assert nvml.open == 1 or watch.resting


async def test_a_gpu_that_cannot_be_read_is_not_trusted() -> None:
    nvml = FakeNvml(one=FakeGpu())
    watch = guard(Caps(10_000 * MIB, 1000 * MIB), nvml)
    async with running(watch, HOLD.format(mib=1), SandboxSpec(("none",), gpus=("one",), share_bytes=1)) as process:
        nvml.broken = "GPU is lost"
        await ended(process, 3)
        assert process.over_memory == "It used GPU memory that cannot be watched now."


async def test_at_rest_nothing_is_looked_at() -> None:
    nvml = FakeNvml(one=FakeGpu())
    watch = guard(Caps(10_000 * MIB, 1000 * MIB), nvml)
    assert watch.resting
    async with running(watch, HOLD.format(mib=1), SandboxSpec(("none",), gpus=("one",), share_bytes=1)):
        await asyncio.sleep(0.4)
        assert nvml.looks
    await asyncio.sleep(0.4)
    looks = nvml.looks
    assert watch.resting
    assert nvml.open == 0
    await asyncio.sleep(0.6)
    assert nvml.looks == looks


@pytest.mark.parametrize("memory", [process_memory(), PortableMemory()])
def test_a_process_that_is_gone_holds_nothing(memory: ProcessMemory) -> None:
    assert memory.tree(1 << 22 | 1) == {1 << 22 | 1}
    assert memory.bound({1 << 22 | 1}) == memory.exact({1 << 22 | 1}) == 0


def test_a_look_reads_only_what_is_cheap(tmp_path: Path) -> None:
    """The exact count costs milliseconds for each gigabyte; four looks a second are not to ask for it."""
    process = tmp_path / "7"
    process.mkdir()
    (process / "status").write_text("RssAnon:\t    900 kB\nRssFile:\t  5000 kB\nVmSwap:\t    100 kB\n")
    (process / "smaps_rollup").write_text("Pss_Anon:             300 kB\nSwapPss:               20 kB\n")
    memory = LinuxMemory(tmp_path)
    assert memory.bound(memory.tree(7)) == 1000 * 1024
    assert memory.exact(memory.tree(7)) == 320 * 1024


def test_shares_follow_from_the_spec() -> None:
    from runner.serving.watched_launcher import share_of

    caps = Caps(8, 6)
    assert share_of(SandboxSpec((), share_bytes=3, gpus=("g",)), caps) == Share(gpu_memory=3)
    assert share_of(SandboxSpec((), share_bytes=3), caps) == Share(memory=3)
    assert share_of(SandboxSpec((), memory_bytes=2), caps) == Share(memory=2, bound=True)
    assert share_of(SandboxSpec((), memory_bytes=2, gpus=("g",)), caps) == Share(2, 6, bound=True)
    assert sys.platform != "linux" or isinstance(process_memory(), LinuxMemory)

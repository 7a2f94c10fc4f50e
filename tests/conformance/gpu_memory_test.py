"""`NvidiaMemory` over a driver of ours, and over the real one where there is a GPU (else not collected)."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runner.probes.gpu_memory import GpuMemory, GpuUnreadableError
from runner.probes.nvidia import probe_nvidia
from runner.probes.nvidia_memory import NvidiaMemory, nvidia_memory
from tests.conformance.gpu_memory_suite import GpuMemorySuite, Hold
from tests.fakes.fake_nvml import MIB, FakeGpu, FakeNvml


class TestOverAFakeDriver(GpuMemorySuite):
    @pytest.fixture
    def nvml(self) -> FakeNvml:
        return FakeNvml(one=FakeGpu(compute={7: 100 * MIB}), two=FakeGpu(total=1000 * MIB))

    @pytest.fixture
    def memory(self, nvml: FakeNvml) -> Iterator[GpuMemory]:
        memory = NvidiaMemory(nvml, ("one",))
        yield memory
        memory.close()
        assert nvml.open == 0

    @pytest.fixture
    def hold(self, nvml: FakeNvml) -> Hold:
        @contextmanager
        def hold(size: int) -> Iterator[int]:
            nvml.gpus["one"].compute[4242] = size
            yield 4242
            del nvml.gpus["one"].compute[4242]

        return hold

    def test_graphics_count_and_nothing_counts_twice(self, nvml: FakeNvml) -> None:
        nvml.gpus["one"].graphics.update({7: 150 * MIB, 8: 20 * MIB})
        assert NvidiaMemory(nvml, ("one",)).look().by_pid == {7: 150 * MIB, 8: 20 * MIB}

    def test_two_gpus_of_one_process_count_together(self, nvml: FakeNvml) -> None:
        nvml.gpus["two"].compute[7] = 50 * MIB
        use = NvidiaMemory(nvml, ("one", "two")).look()
        assert (use.by_pid, use.total_bytes) == ({7: 150 * MIB}, 25_000 * MIB)

    def test_what_the_driver_does_not_tell_is_unknown_and_not_nothing(self, nvml: FakeNvml) -> None:
        nvml.gpus["one"].compute[9] = None
        nvml.gpus["two"].compute[9] = 5
        assert NvidiaMemory(nvml, ("one", "two")).look().by_pid[9] is None

    def test_a_driver_that_fails_is_named_and_tried_again(self, nvml: FakeNvml) -> None:
        memory = NvidiaMemory(nvml, ("one",))
        memory.look()
        nvml.broken = "GPU is lost"
        with pytest.raises(GpuUnreadableError, match=r"does not say who holds GPU memory: GPU is lost\."):
            memory.look()
        assert nvml.open == 0
        nvml.broken = ""
        assert memory.look().by_pid == {7: 100 * MIB}

    def test_a_gpu_that_is_gone_leaves_nothing_open(self, nvml: FakeNvml) -> None:
        with pytest.raises(GpuUnreadableError):
            NvidiaMemory(nvml, ("gone",)).look()
        assert nvml.open == 0


if probe_nvidia().gpus:

    class TestOverTheRealDriver(GpuMemorySuite):
        @pytest.fixture
        def memory(self) -> Iterator[GpuMemory]:
            memory = nvidia_memory((probe_nvidia().gpus[0].uuid,))
            yield memory
            memory.close()

        @pytest.fixture
        def hold(self) -> Hold:
            @contextmanager
            def hold(size: int) -> Iterator[int]:
                program = (
                    f"import torch; x = torch.ones({size}, dtype=torch.uint8, device='cuda'); print(1, flush=True)"
                )
                pipe = subprocess.PIPE
                with subprocess.Popen(
                    [sys.executable, "-c", f"{program}; input()"], stdin=pipe, stdout=pipe
                ) as process:
                    assert process.stdout is not None
                    process.stdout.readline()
                    yield process.pid
                    process.kill()

            return hold

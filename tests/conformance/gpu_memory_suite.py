"""What every `GpuMemory` promises; subclass it and give the fixture."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from runner.probes.gpu_memory import GpuMemory

Hold = Callable[[int], AbstractContextManager[int]]
"""Makes a process hold at least so many bytes of GPU memory while inside; gives its process id on the host."""


class GpuMemorySuite:
    @pytest.fixture
    def memory(self) -> Iterator[GpuMemory]:
        raise NotImplementedError

    @pytest.fixture
    def hold(self) -> Hold:
        raise NotImplementedError

    def test_a_look_says_what_there_is_and_what_is_held(self, memory: GpuMemory) -> None:
        use = memory.look()
        assert 0 <= use.used_bytes <= use.total_bytes
        assert use.total_bytes > 0

    def test_a_process_is_named_by_its_host_id_with_what_it_holds(self, memory: GpuMemory, hold: Hold) -> None:
        before = memory.look()
        with hold(256 << 20) as pid:
            use = memory.look()
            held = use.by_pid[pid]
            assert held is None or held >= 256 << 20
            assert use.used_bytes >= before.used_bytes + (256 << 20)
        assert pid not in memory.look().by_pid

    def test_a_process_without_gpu_memory_is_not_named(self, memory: GpuMemory) -> None:
        assert os.getppid() not in memory.look().by_pid

    def test_it_looks_again_after_it_rested(self, memory: GpuMemory) -> None:
        first = memory.look()
        memory.close()
        memory.close()
        assert memory.look().total_bytes == first.total_bytes

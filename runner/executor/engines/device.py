"""Where a model computes: the device that was granted, its number format, its threads and its memory.

Promises: the device asked for or `ModelError`, never another in its place; on a GPU the process cannot allocate more
than `cap_bytes`; the words for people name the number format too.
"""

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gogrid.protocol.messages import DeviceKind, FailCode
from runner.errors import ModelError
from runner.executor.engines.fast_linear import packed_linear
from runner.executor.messages import Load

_TRIALS = 7
_TRIAL_S = 0.6
_CUDA_CONTEXT = 600 << 20
"""What a CUDA context and its libraries hold outside torch's allocator, about."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One device, ready for a model."""

    device: torch.device
    kind: DeviceKind
    name: str
    threads: int
    cap_bytes: int

    def describe(self, dtype: torch.dtype) -> str:
        """In words: `CPU, 2 threads, bfloat16`."""
        return f"{self.name}, {str(dtype).removeprefix('torch.')}"

    def used_bytes(self) -> int:
        """What this process holds of the device's memory now."""
        if self.kind is DeviceKind.CUDA:
            return torch.cuda.memory_reserved(self.device) + _CUDA_CONTEXT
        if self.kind is DeviceKind.MPS:
            return torch.mps.driver_allocated_memory()
        return _resident_bytes()


def place(load: Load) -> Placement:
    """Take the device that `load` grants.

    Raises:
        ModelError: it is not there; says why.
    """
    torch.set_num_threads(max(load.threads, 1))
    kind, cap = load.device, load.cap_bytes
    if kind is DeviceKind.CPU:
        threads = f"{load.threads} thread{'s' if load.threads != 1 else ''}"
        return Placement(torch.device("cpu"), kind, f"CPU, {threads}", load.threads, cap)
    if kind is DeviceKind.CUDA:
        if not torch.cuda.is_available():
            raise _absent("an NVIDIA GPU", f"torch {torch.__version__} sees no CUDA device here")
        device = torch.device("cuda", 0)
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(max(cap - _CUDA_CONTEXT, 1) / total, 1.0), device)
        return Placement(device, kind, torch.cuda.get_device_name(device), load.threads, cap)
    if not torch.backends.mps.is_available():
        raise _absent("an Apple GPU", f"torch {torch.__version__} sees no MPS device here")
    torch.mps.set_per_process_memory_fraction(min(cap / torch.mps.recommended_max_memory(), 2.0))
    return Placement(torch.device("mps"), kind, "Apple GPU", load.threads, cap)


def choose_dtype(placement: Placement, shapes: Sequence[tuple[int, int]], rows: Sequence[int]) -> torch.dtype:
    """The number format a model with these layers runs fastest in, found by trying them.

    Args:
        placement: where.
        shapes: (outputs, inputs) of the model's linear layers; each distinct one is tried once, for at most 0.6 s
            together.
        rows: how many tokens at a time to try, for instance one stream and a full batch.

    Returns:
        bfloat16 where a GPU has it (else float16); on a CPU bfloat16 or float32, whichever was faster.
    """
    if placement.kind is DeviceKind.CUDA:
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if placement.kind is DeviceKind.MPS:
        return torch.float16
    taken = {dtype: sum(_seconds(dtype, shapes, rows)) for dtype in (torch.float32, torch.bfloat16)}
    return min(taken, key=lambda dtype: taken[dtype])


def _seconds(dtype: torch.dtype, shapes: Sequence[tuple[int, int]], rows: Sequence[int]) -> Iterator[float]:
    """For each shape and number of rows, the best of a few runs, weighed by how often the shape occurs."""
    end = time.perf_counter() + _TRIAL_S
    for outputs, inputs in dict.fromkeys(shapes):
        layer = packed_linear(torch.zeros(outputs, inputs, dtype=dtype), None)
        for count in rows:
            values = torch.zeros(1, count, inputs, dtype=dtype)
            runs: list[float] = []
            while len(runs) < _TRIALS and (len(runs) < 2 or time.perf_counter() < end):
                start = time.perf_counter()
                layer(values)
                runs.append(time.perf_counter() - start)
            yield min(runs) * shapes.count((outputs, inputs))


def free_rows(placement: Placement, values: Tensor) -> Tensor:
    """`values` on the device."""
    return values.to(placement.device)


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak << 10


def _absent(what: str, why: str) -> ModelError:
    message = f"This worker was told to use {what}, but {why}; reinstall its engine pack or choose another device."
    return ModelError(message, FailCode.NO_ROOM)

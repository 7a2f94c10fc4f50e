"""Where a model computes: the device that was granted, its number format, its threads and its memory.

Promises: the device asked for or `ModelError`, never another in its place; on a GPU the process cannot allocate more
than `cap_bytes`; the words for people name the number format too.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch

from gogrid.protocol.job_messages import FailCode
from gogrid.protocol.worker_report import DeviceKind
from runner.errors import ModelError
from runner.executor.engines.fast_linear import packed_linear
from runner.executor.messages import Load
from runner.probes.process_memory import process_memory

_TRIALS = 7
_FEWEST = 2
_TRIAL_S = 0.6
_NATIVE = ("avx512_bf16", "amx_bf16")
"""What a CPU that computes in bfloat16 by itself has one of."""
_CLEARLY = 0.85
"""float32 needs twice the memory, so it has to be faster than this share of bfloat16's time."""
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
        """What this process holds of the device's memory now, as it is counted from outside, too."""
        if self.kind is DeviceKind.CUDA:
            torch.cuda.empty_cache()  # what loading only passed through
            return torch.cuda.memory_reserved(self.device) + _CUDA_CONTEXT
        if self.kind is DeviceKind.MPS:
            return torch.mps.driver_allocated_memory()
        return process_memory().bound((os.getpid(),))


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
        bfloat16 where a GPU has it (else float16) or a CPU computes in it, without trying, so that equal machines
        always agree and can go on with each other's answers; on other CPUs bfloat16 or float32, whichever was faster.
    """
    if placement.kind is DeviceKind.CUDA:
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if placement.kind is DeviceKind.MPS:
        return torch.float16
    if _computes_bfloat16():
        return torch.bfloat16
    taken = _seconds((torch.float32, torch.bfloat16), shapes, rows)
    return torch.float32 if taken[torch.float32] < _CLEARLY * taken[torch.bfloat16] else torch.bfloat16


def _computes_bfloat16() -> bool:
    """Whether this CPU does so by itself; torch before 2.10 cannot tell."""
    tell = getattr(torch.cpu, "get_capabilities", None)
    return tell is not None and any(tell().get(name) for name in _NATIVE)


def _seconds(
    dtypes: Sequence[torch.dtype], shapes: Sequence[tuple[int, int]], rows: Sequence[int]
) -> dict[torch.dtype, float]:
    """For each format the time all layers take, from the best of a few runs that take turns, so that both meet the same
    disturbances of a busy machine."""
    taken = dict.fromkeys(dtypes, 0.0)
    end = time.perf_counter() + _TRIAL_S
    for outputs, inputs in dict.fromkeys(shapes):
        layers = {dtype: packed_linear(torch.zeros(outputs, inputs, dtype=dtype), None) for dtype in dtypes}
        for count in rows:
            best = dict.fromkeys(dtypes, inf)
            for trial in range(_TRIALS):
                if trial >= _FEWEST and time.perf_counter() > end:
                    break
                for dtype, layer in layers.items():
                    values = torch.zeros(1, count, inputs, dtype=dtype)
                    start = time.perf_counter()
                    layer(values)
                    best[dtype] = min(best[dtype], time.perf_counter() - start)
            for dtype in dtypes:
                taken[dtype] += best[dtype] * shapes.count((outputs, inputs))
    return taken


def _absent(what: str, why: str) -> ModelError:
    message = f"This worker was told to use {what}, but {why}; reinstall its engine pack or choose another device."
    return ModelError(message, FailCode.NO_ROOM)

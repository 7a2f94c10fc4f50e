"""Who holds the memory of NVIDIA GPUs, by NVML.

Promises: compute and graphics contexts count, a process that has both on one GPU counts once with the larger number,
and one that uses several GPUs with their sum. The process ids are the host's, where the runner lives: a job that sees
itself as process 1 inside its sandbox is still told apart.
"""

from collections.abc import Sequence
from typing import Protocol, cast

from runner.probes.gpu_memory import GpuMemory, GpuUnreadableError, GpuUse
from runner.probes.nvml import load_nvml


class _Memory(Protocol):
    total: int
    used: int


class _Process(Protocol):
    pid: int
    usedGpuMemory: int | None  # NVML's own name


class NvmlProcesses(Protocol):
    """What this module uses of `pynvml`."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> object: ...
    def nvmlDeviceGetMemoryInfo(self, handle: object) -> _Memory: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> Sequence[_Process]: ...
    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: object) -> Sequence[_Process]: ...


class NvidiaMemory:
    """Implements `GpuMemory` for the GPUs with these UUIDs."""

    def __init__(self, nvml: NvmlProcesses, uuids: tuple[str, ...]) -> None:
        self._nvml, self._uuids = nvml, uuids
        self._handles: tuple[object, ...] | None = None
        """Open while somebody looks every now and then; None: the driver rests."""

    def look(self) -> GpuUse:
        try:
            return self._look()
        except self._nvml.NVMLError as error:
            self.close()
            raise GpuUnreadableError(f"The NVIDIA driver does not say who holds GPU memory: {error}.") from error

    def close(self) -> None:
        if self._handles is None:
            return
        self._handles = None
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return  # a driver that is gone needs no shutdown

    def _look(self) -> GpuUse:
        total = used = 0
        by_pid: dict[int, int | None] = {}
        for handle in self._open():
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
            total, used = total + memory.total, used + memory.used
            for pid, held in self._processes(handle).items():
                before = by_pid.get(pid, 0)
                by_pid[pid] = None if held is None or before is None else before + held
        return GpuUse(total, used, by_pid)

    def _open(self) -> tuple[object, ...]:
        if self._handles is None:
            self._nvml.nvmlInit()
            self._handles = ()  # from here on `close` has something to shut down
            self._handles = tuple(self._nvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in self._uuids)
        return self._handles

    def _processes(self, handle: object) -> dict[int, int | None]:
        found: dict[int, int | None] = {}
        for process in (
            *self._nvml.nvmlDeviceGetComputeRunningProcesses(handle),
            *self._nvml.nvmlDeviceGetGraphicsRunningProcesses(handle),
        ):
            known = found.get(process.pid)
            held = process.usedGpuMemory
            found[process.pid] = held if known is None else max(known, held or 0)
        return found


def nvidia_memory(uuids: tuple[str, ...]) -> GpuMemory:
    """Of real GPUs. Raises `GpuUnreadableError` where the package is missing; touches no driver before a look."""
    nvml = load_nvml()
    if nvml is None:
        raise GpuUnreadableError("GPU memory cannot be watched: the package nvidia-ml-py is not installed.")
    return NvidiaMemory(cast(NvmlProcesses, nvml), uuids)

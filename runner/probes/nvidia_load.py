"""How busy and how hot NVIDIA GPUs are, and how much of both their time and memory is other programs', by NVML.

Where a driver does not tell the processes apart (WDDM, MIG), a busy GPU counts as other programs' only while none of
ours is on it: better unseen than a worker that keeps itself away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from runner.probes.gpu_memory import GpuUnreadableError
from runner.probes.nvidia_memory import NvidiaMemory, NvmlProcesses
from runner.probes.nvml import load_nvml


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """Of all GPUs that are lent, the busiest and the hottest count. None: it cannot be told."""

    others: float | None = None
    others_memory: float | None = None
    """Shares, 0 to 1."""
    celsius: float | None = None


class _Sample(Protocol):
    pid: int
    timeStamp: int  # NVML's own names
    smUtil: int


class _Rates(Protocol):
    gpu: int


class NvmlLoad(NvmlProcesses, Protocol):
    """What this module uses of `pynvml`."""

    NVMLError_NotFound: type[Exception]
    NVML_TEMPERATURE_GPU: int

    def nvmlDeviceGetProcessUtilization(self, handle: object, timeStamp: int) -> Sequence[_Sample]: ...
    def nvmlDeviceGetUtilizationRates(self, handle: object) -> _Rates: ...
    def nvmlDeviceGetTemperature(self, handle: object, sensor: int) -> int: ...


class NvidiaLoad:
    """Of the GPUs with these UUIDs. Holds the driver open between looks, until `close`."""

    def __init__(self, nvml: NvmlLoad, uuids: tuple[str, ...]) -> None:
        self._nvml, self._uuids = nvml, uuids
        self._memory = NvidiaMemory(nvml, uuids)
        self._seen: dict[str, int] = {}
        """By UUID: the newest sample's time, in microseconds of the driver."""

    def look(self, ours: frozenset[int]) -> GpuLoad:
        """Args: ours: process ids."""
        try:
            use = self._memory.look()  # opens the driver, and keeps it open
            handles = [(uuid, self._nvml.nvmlDeviceGetHandleByUUID(uuid)) for uuid in self._uuids]
            at_work = not ours.isdisjoint(use.by_pid)
            shares = [self._others(uuid, handle, ours, at_work=at_work) for uuid, handle in handles]
            sensor = self._nvml.NVML_TEMPERATURE_GPU
            celsius = max(self._nvml.nvmlDeviceGetTemperature(handle, sensor) for _, handle in handles)
        except (GpuUnreadableError, self._nvml.NVMLError):
            self.close()
            return GpuLoad()
        held = [use.by_pid[pid] for pid in ours if pid in use.by_pid]
        others = use.used_bytes - sum(size or 0 for size in held)
        told = [share for share in shares if share is not None]
        memory = others / use.total_bytes if use.total_bytes and None not in held else None
        return GpuLoad(max(told) if told else None, memory, float(celsius))

    def close(self) -> None:
        """Let the driver rest until the next look."""
        self._memory.close()

    def _others(self, uuid: str, handle: object, ours: frozenset[int], *, at_work: bool) -> float | None:
        since = self._seen.get(uuid, 0)
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(handle, since)
        except self._nvml.NVMLError_NotFound:
            return 0.0  # nobody has used it since
        except self._nvml.NVMLError:
            return None if at_work else self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        fresh = [sample for sample in samples if sample.timeStamp > since]
        self._seen[uuid] = max((sample.timeStamp for sample in fresh), default=since)
        by_pid: dict[int, list[int]] = {}
        for sample in fresh:
            by_pid.setdefault(sample.pid, []).append(sample.smUtil)
        busy = sum(sum(uses) / len(uses) for pid, uses in by_pid.items() if pid not in ours)
        return min(1.0, busy / 100) if since else None  # the first samples may be old ones


def nvidia_load(uuids: tuple[str, ...]) -> NvidiaLoad | None:
    """Of real GPUs; None where there are none, or no package to ask about them."""
    nvml = load_nvml() if uuids else None
    return NvidiaLoad(cast(NvmlLoad, nvml), uuids) if nvml is not None else None

"""NVIDIA GPUs by NVML. The library comes with the driver; without it there is no GPU that could be used."""

from typing import Protocol, cast

from gogrid.protocol.worker_report import DeviceKind
from runner.probes.base import Gpu, GpuFindings
from runner.probes.nvml import load_nvml


class _Memory(Protocol):
    total: int
    used: int


class Nvml(Protocol):
    """What this probe uses of the module `pynvml`."""

    NVMLError: type[Exception]
    NVMLError_LibraryNotFound: type[Exception]
    NVMLError_DriverNotLoaded: type[Exception]

    def nvmlInit(self) -> None: ...  # NVML's own names
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> object: ...
    def nvmlDeviceGetName(self, handle: object) -> str: ...
    def nvmlDeviceGetUUID(self, handle: object) -> str: ...
    def nvmlDeviceGetMemoryInfo(self, handle: object) -> _Memory: ...


def probe_nvidia() -> GpuFindings:
    nvml = load_nvml()
    if nvml is None:
        return GpuFindings(
            DeviceKind.CUDA, (), "NVIDIA GPUs cannot be looked for: the package nvidia-ml-py is not installed"
        )
    return find_gpus(cast(Nvml, nvml))


def find_gpus(nvml: Nvml) -> GpuFindings:
    """The GPUs that a given NVML shows."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError_LibraryNotFound:
        return GpuFindings(DeviceKind.CUDA, (), "no NVIDIA driver (libnvidia-ml not found)")
    except nvml.NVMLError_DriverNotLoaded:
        return GpuFindings(DeviceKind.CUDA, (), "the NVIDIA driver is installed but not loaded")
    except nvml.NVMLError as error:
        return GpuFindings(DeviceKind.CUDA, (), f"the NVIDIA driver does not answer ({error})")
    try:
        driver = nvml.nvmlSystemGetDriverVersion()
        gpus = tuple(_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError as error:
        return GpuFindings(DeviceKind.CUDA, (), f"the NVIDIA driver does not tell its GPUs ({error})")
    finally:
        nvml.nvmlShutdown()
    return GpuFindings(DeviceKind.CUDA, gpus, "" if gpus else "the NVIDIA driver shows no GPU", driver)


def _gpu(nvml: Nvml, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(
        kind=DeviceKind.CUDA,
        name=nvml.nvmlDeviceGetName(handle),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        memory_bytes=memory.total,
        used_bytes=memory.used,
    )

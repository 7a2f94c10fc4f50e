"""How busy NVIDIA GPUs are, by NVML; nothing where there is no driver. Blocks for milliseconds."""

import importlib
from typing import Protocol, cast


class _Rates(Protocol):
    gpu: int
    """Per cent."""


class NvmlRates(Protocol):
    """What this module uses of `pynvml`."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> object: ...
    def nvmlDeviceGetUtilizationRates(self, handle: object) -> _Rates: ...


def nvidia_share(uuids: tuple[str, ...]) -> float | None:
    """Share of the time in use by anybody, 0 to 1, mean of these GPUs; None: it cannot be read."""
    if not uuids:
        return None
    try:
        nvml = cast(NvmlRates, importlib.import_module("pynvml"))
    except ImportError:
        return None
    return share(nvml, uuids)


def share(nvml: NvmlRates, uuids: tuple[str, ...]) -> float | None:
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        handles = [nvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
        return sum(nvml.nvmlDeviceGetUtilizationRates(handle).gpu for handle in handles) / 100 / len(handles)
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()

"""How busy NVIDIA GPUs are, by NVML; nothing where there is no driver. Blocks for milliseconds."""

from typing import Protocol, cast

from runner.probes.nvml import load_nvml


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
    nvml = load_nvml() if uuids else None
    return share(cast(NvmlRates, nvml), uuids) if nvml is not None else None


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

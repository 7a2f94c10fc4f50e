"""A driver for tests with the surface of `pynvml`: GPUs whose processes hold what the test says."""

from dataclasses import dataclass, field

MIB = 1 << 20


class FakeNvmlError(Exception):
    pass


@dataclass
class FakeProcess:
    pid: int
    usedGpuMemory: int | None  # NVML's own name


@dataclass
class FakeMemory:
    total: int
    used: int


@dataclass
class FakeGpu:
    total: int = 24_000 * MIB
    others: int = 0
    """Held by what is no process: the desktop, the driver."""
    compute: dict[int, int | None] = field(default_factory=dict)
    graphics: dict[int, int | None] = field(default_factory=dict)


class FakeNvml:
    """`broken` makes every call but the shutdown fail with its words; `open` counts what is to be shut down."""

    NVMLError = FakeNvmlError

    def __init__(self, **gpus: FakeGpu) -> None:
        self.gpus = gpus
        self.broken = ""
        self.open = 0
        self.looks = 0

    def nvmlInit(self) -> None:
        self._check()
        self.open += 1

    def nvmlShutdown(self) -> None:
        if not self.open:
            raise FakeNvmlError("Uninitialized")
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:
        self._check()
        if uuid not in self.gpus:
            raise FakeNvmlError("Not Found")
        return self.gpus[uuid]

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> FakeMemory:
        self._check()
        assert isinstance(handle, FakeGpu)
        held = sum(held or 0 for held in (*handle.compute.values(), *handle.graphics.values()))
        return FakeMemory(handle.total, handle.others + held)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> list[FakeProcess]:
        self._check()
        self.looks += 1
        assert isinstance(handle, FakeGpu)
        return [FakeProcess(pid, held) for pid, held in handle.compute.items()]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: object) -> list[FakeProcess]:
        self._check()
        assert isinstance(handle, FakeGpu)
        return [FakeProcess(pid, held) for pid, held in handle.graphics.items()]

    def _check(self) -> None:
        if self.broken:
            raise FakeNvmlError(self.broken)

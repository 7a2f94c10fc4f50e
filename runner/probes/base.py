"""What a probe finds out about the machine, and the seam for graphics processors.

Probes only look; `choose.py` decides. None of them imports torch or starts anything on a GPU.
"""

from dataclasses import dataclass

from gogrid.protocol.worker_report import DeviceKind


@dataclass(frozen=True, slots=True)
class Cpu:
    name: str
    cores: int
    """That this process may really use, after CPU sets and quotas; at least 1."""
    memory_bytes: int
    """RAM, or the control group's limit where that is less."""
    limits: str = ""
    """In words, what of the machine is held back from this process; empty: nothing."""


@dataclass(frozen=True, slots=True)
class Gpu:
    kind: DeviceKind
    name: str
    uuid: str
    """`GPU-…` for NVIDIA; empty where the platform has one GPU without a name of its own."""
    memory_bytes: int
    used_bytes: int
    """Held by anybody now."""


@dataclass(frozen=True, slots=True)
class GpuFindings:
    kind: DeviceKind
    gpus: tuple[Gpu, ...]
    problem: str
    """In words, why there is none; empty when there are some."""
    driver: str = ""
    """Its version; empty where there is none or it does not say."""


@dataclass(frozen=True, slots=True)
class EngineBuild:
    """Which engines could be started here, told from the files of the packages alone."""

    torch: bool
    cuda: bool
    """The installed torch is built for CUDA."""
    problem: str = ""
    """In words, why there is no torch engine."""

    @property
    def engines(self) -> tuple[str, ...]:
        return ("torch", "echo") if self.torch else ("echo",)

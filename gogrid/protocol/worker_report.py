"""What a worker tells its coordinator of itself: its devices, its models, and whether it can work.

A new field needs a default; unknown fields are ignored.
"""

from enum import Enum

from gogrid.ids import Sha256
from gogrid.protocol.measured import MeasuredSpeed
from gogrid.protocol.wire import Value, Wire


class DeviceKind(Enum):
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Device(Value, frozen=True):
    """One thing that can compute."""

    kind: DeviceKind
    name: str
    memory_bytes: int
    """VRAM, or RAM for a CPU."""
    cap_bytes: int
    """What jobs may use of it together: the owner's limit."""
    why: str
    """In words: why this device is, or is not, used."""
    usable: bool = True


class Readiness(Enum):
    READY = "ready"
    PAUSED = "paused"
    DRAINING = "draining"
    UNABLE = "unable"
    """Cannot work at all, for instance because no sandbox works."""


class LoadStage(Enum):
    QUEUED = "queued"
    """The worker's memory is with other models, whose turn has not ended."""
    DOWNLOADING = "downloading"
    CONVERTING = "converting"
    LOADING = "loading"


class LoadedModel(Value, frozen=True):
    """A model that sits in an executor now."""

    digest: Sha256
    memory_bytes: int
    running: int
    slots: int
    """How many requests it can serve at once."""
    giving_way: bool = False
    """Another model waits for its room: it ends what it serves and begins nothing new."""
    kept: bool = False
    """Its turn has not ended: no script gets its memory, even if nobody uses it at this moment."""


class LoadingModel(Value, frozen=True):
    """A model that is on its way into an executor."""

    digest: Sha256
    stage: LoadStage
    fraction: float
    """0..1 of this stage."""
    eta_s: float = -1.0
    """Seconds until it can serve, as measured here before; negative: not known."""
    memory_bytes: int = 0
    """What it holds already, or is promised; 0: it waits for room."""


class RefusedModel(Value, frozen=True):
    """A model that this worker does not serve for a while."""

    digest: Sha256
    reason: str
    """In words: `its process crashed 3 times in a row`."""


class WorkerReport(Wire, frozen=True):
    """What the worker can do and is doing; sent after `Welcome` and whenever it changes."""

    software: str
    hostname: str
    platform: str
    """`linux-x86_64`, `darwin-aarch64`, …"""
    readiness: Readiness
    reason: str
    """In words, for people: `ready`, `paused by its owner`, `no sandbox works: …`."""
    devices: tuple[Device, ...]
    engines: tuple[str, ...]
    """Engine names this worker can start: `torch`, `echo`."""
    sandbox: str
    """In words: which sandbox runs the jobs, and what it cannot enforce."""
    python_jobs: bool
    loaded: tuple[LoadedModel, ...] = ()
    cached: tuple[Sha256, ...] = ()
    """Digests of the models whose files are all in the worker's cache."""
    cores: int = 1
    loading: tuple[LoadingModel, ...] = ()
    refused: tuple[RefusedModel, ...] = ()
    packages: tuple[str, ...] = ()
    """What scripts can import here besides the standard library, as far as it is well known: `numpy 2.4.6`."""
    gpu_scripts: bool = False
    """Its owner lends the GPU to scripts, too: to one at a time, and to no model meanwhile."""
    speed: MeasuredSpeed | None = None
    """None: not measured yet, or on another device than the one it lends now."""

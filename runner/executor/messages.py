"""What the runner and an executor say to each other over the executor's standard input and output.

Frames are those of `gogrid.protocol.framing`. The first frame to the executor is `Load`; it answers with any number
of `Loading` and then `Ready` or `LoadFailed`. After `Ready` the runner sends `Submit` and `Abort`; the executor
sends `Step`s, each holding what the requests of its batch produced since the last one (`pacing.py`). Standard input
closed means: end. The executor believes nothing of what a task contains; the runner believes nothing of what an
executor says.
"""

from gogrid.protocol.job_messages import FailCode, JobMessage
from gogrid.protocol.tasks import ChatTask, CompletionTask, EmbeddingTask
from gogrid.protocol.wire import Value, Wire
from gogrid.protocol.worker_report import DeviceKind, LoadStage


class Load(Wire, frozen=True):
    engine: str
    model_path: str
    """Inside the sandbox, read-only."""
    device: DeviceKind
    threads: int
    """CPU threads the engine may use."""
    cap_bytes: int
    """What this executor may use of the device's memory."""
    work_path: str = ""
    """A writable folder that outlives the executor, for `convert`; empty: none."""
    convert: bool = False
    """Write the model in the engine's own format to `work_path`, say `Ready`, and end."""


class Loading(Wire, frozen=True):
    stage: LoadStage
    fraction: float


class Ready(Wire, frozen=True):
    device: str
    """In words, with the number format: `CPU, 2 threads, bfloat16`."""
    slots: int
    memory_bytes: int
    context_length: int


class LoadFailed(Wire, frozen=True):
    code: FailCode
    message: str


class Submit(Wire, frozen=True):
    request: int
    task: ChatTask | CompletionTask | EmbeddingTask


class Abort(Wire, frozen=True):
    request: int


class Item(Value, frozen=True):
    request: int
    message: JobMessage


class Step(Wire, frozen=True):
    items: tuple[Item, ...]


ToExecutor = Load | Submit | Abort
FromExecutor = Loading | Ready | LoadFailed | Step

"""What the running worker answers on its local socket: newline-ended JSON, one `Ask`, one `WorkerStatus` or `Refused`.

The tray and `gogrid-worker` import this module and nothing else of the runner.
"""

import msgspec

from gogrid.protocol.messages import Device, Readiness

MAX_LINE = 1 << 20
"""Bytes of one question or answer."""


class ControlMessage(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of what crosses the socket; the tag is the class name."""


class AskStatus(ControlMessage, frozen=True):
    pass


class AskPause(ControlMessage, frozen=True):
    """Take no new jobs until `AskResume`; those that run go on on another worker."""

    reason: str = "paused by its owner"
    finish: bool = False
    """Let those that run end here first."""


class AskResume(ControlMessage, frozen=True):
    pass


class AskReload(ControlMessage, frozen=True):
    """Read the settings' file again: new limits count at once, the rest from the next start. `Refused` says why not."""


class RunningJob(msgspec.Struct, frozen=True, kw_only=True):
    job_id: str
    kind: str
    """`chat`, `completion`, `embedding` or `python`."""
    model: str
    """Name of the model; empty for scripts."""
    seconds: float


class ModelState(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    name: str
    """As the coordinator last called it; empty if it has not since the worker started."""
    state: str
    """`loaded`, `cached` or `downloading`."""
    memory_bytes: int = 0
    running: int = 0
    fraction: float = 1.0


class WorkerStatus(ControlMessage, frozen=True):
    """Everything a person wants to know about a running worker."""

    software: str
    worker: str
    """Its name at the coordinator; empty before the first connection."""
    readiness: Readiness
    reason: str
    coordinator: str
    """`host:port`."""
    connected: bool
    connection: str
    """In words: since when, or why not."""
    device: str
    """In words: which device is used, and why."""
    devices: tuple[Device, ...]
    sandbox: str
    python_jobs: bool
    jobs: tuple[RunningJob, ...]
    models: tuple[ModelState, ...]
    jobs_done: int
    jobs_failed: int
    pid: int


class Done(ControlMessage, frozen=True):
    pass


class Refused(ControlMessage, frozen=True):
    reason: str


Ask = AskStatus | AskPause | AskResume | AskReload
Answer = WorkerStatus | Done | Refused


def encode_line(message: ControlMessage) -> bytes:
    return msgspec.json.encode(message) + b"\n"


_asks: msgspec.json.Decoder[Ask] = msgspec.json.Decoder(Ask)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def decode_ask(line: bytes) -> Ask:
    """Raises `msgspec.MsgspecError` or `UnicodeDecodeError` for anything else."""
    return _asks.decode(line)


def decode_answer(line: bytes) -> Answer:
    """Raises `msgspec.MsgspecError` or `UnicodeDecodeError` for anything else."""
    return _answers.decode(line)

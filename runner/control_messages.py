"""What the running worker answers on its local socket: newline-ended JSON, one `Ask`, one `WorkerStatus` or `Refused`.

The tray and `gogrid-worker` import this module and nothing else of the runner.
"""

from typing import Literal

import msgspec

from gogrid.protocol.worker_report import Device, Readiness

MAX_LINE = 1 << 20
"""Bytes of one question or answer."""
EngineState = Literal["", "coming", "missing"]


class ControlMessage(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of what crosses the socket; the tag is the class name."""


class AskStatus(ControlMessage, frozen=True):
    pass


class AskPause(ControlMessage, frozen=True):
    """Take no new jobs until `AskResume`; those that run go on on another worker."""

    reason: str = "paused by its owner"
    finish: bool = False
    """Let those that run end here first."""
    until: float = 0.0
    """Unix seconds at which it ends by itself; 0: not before `AskResume`."""


class AskResume(ControlMessage, frozen=True):
    pass


class AskReload(ControlMessage, frozen=True):
    """Read the settings' file again: new limits count at once, the rest from the next start. `Refused` says why not."""


class AskSettings(ControlMessage, frozen=True):
    """Answered by `Settings`."""


class AskChange(ControlMessage, frozen=True):
    """Write one setting into the file and take it up. `Refused` says what is allowed; then nothing has changed."""

    setting: str
    """`worker.max_vram`, or its name without the table."""
    value: str
    """As on a command line; empty: back to the default."""


class AskModels(ControlMessage, frozen=True):
    """Which models lie on disk; answered by `CachedModels`."""


class AskPrune(ControlMessage, frozen=True):
    """Remove models from disk that are not in use; answered by those `CachedModels` that are gone."""

    unused_s: float
    """Only those that nobody has used for so long."""


class AskStatistics(ControlMessage, frozen=True):
    """Answered by `Statistics`."""

    span: Literal["hour", "day", "week"] = "hour"


class AskTest(ControlMessage, frozen=True):
    """One small question to a model on this machine, for its owner to see that it works. Answered by `TestShown`."""

    begin: bool = False
    """Start one, unless one is under way; else how far it is."""


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


class CachedModelShown(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    name: str
    """As the coordinator last called it; empty if it has not since the worker started."""
    disk_bytes: int
    """Its files and its converted form; files that models share count for each."""
    last_used: float
    """Unix seconds."""
    in_use: bool
    """Loaded or being fetched: it is not removed."""


class CachedModels(ControlMessage, frozen=True):
    models: tuple[CachedModelShown, ...]
    """The longest unused first."""


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
    holds: tuple[str, ...] = ()
    """Every reason, in words, why it may not work now; the first is also the `reason`."""
    paused_until: float = 0.0
    """Unix seconds; 0: its owner has not paused it, or without an end."""
    tokens_per_s: float = 0.0
    """Over the last ten seconds, all requests together."""
    memory_in_use: int = 0
    """Bytes of the device that its models hold."""
    order: Literal["", "pause", "finish"] = ""
    """What its owner asked of it by hand and `AskResume` ends; empty: nothing."""
    dashboard: str = ""
    """`https://host:port` of its coordinator; empty before the first connection."""
    unseen: tuple[str, ...] = ()
    """What the gates cannot look at on this machine, each in words."""
    engine: str = ""
    """What is done about its engine, in words: `fetching its engine: 42 % of 322 MB`; empty: nothing."""
    engine_state: EngineState = ""
    """It has none, and one is coming, or somebody has to do something; empty: it has one, or looks for none."""
    settings_trouble: str = ""
    """What is wrong with the settings' file, so that the settings stay as they were; empty: nothing."""


class SettingShown(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    """`worker.max_vram`."""
    value: str
    """As it would be written in the file."""
    origin: str
    """`--max-vram`, `GOGRID_MAX_VRAM`, the file's path, or `default`: which one won."""
    env: str
    help: str
    live: bool
    """A running worker takes it up at once; else it counts from its next start."""


class Settings(ControlMessage, frozen=True):
    settings: tuple[SettingShown, ...]
    file: str
    trouble: str = ""
    """What is wrong with the file now: these are the settings as they were before; empty: nothing."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in one step of time, or how things were at its end."""

    at: float
    """Unix seconds of its end."""
    jobs_done: int = 0
    jobs_failed: int = 0
    tokens: int = 0
    cpu: float = 0.0
    """Share of all processors that the worker's processes used: 0 to 1."""
    gpu: float | None = None
    """Share of the device's time in use by anybody, 0 to 1; None where it cannot be read."""
    memory: int = 0
    """Most bytes of the device that its models held at once."""


class Statistics(ControlMessage, frozen=True):
    step_s: float
    samples: tuple[Sample, ...]
    """Oldest first, without gaps: steps in which the worker did not run are empty."""
    jobs_done: int
    jobs_failed: int
    tokens: int
    """Of the span."""


class TestShown(ControlMessage, frozen=True):
    """How far the test is, and what came out: a real answer of this machine, or why there is none."""

    __test__ = False
    """Not a test of pytest's."""
    state: Literal["none", "working", "done", "failed"] = "none"
    sentence: str = ""
    """What it is doing now, or why it failed."""
    model: str = ""
    """Who answered; empty: the coordinator has no model that can chat, and a short script was run instead."""
    question: str = ""
    answer: str = ""
    tokens: int = 0
    seconds: float = 0.0


class Done(ControlMessage, frozen=True):
    note: str = ""
    """What its owner should know of it, as a sentence: a value that was written but does not count, and why."""
    key: str = ""
    """Of `AskChange`: the setting's whole name."""
    counts: Literal["", "now", "start", "joining", "no"] = ""
    """Of `AskChange`: from when. `start`, `joining`: the worker's next; `no`: a flag or a variable wins."""


class Refused(ControlMessage, frozen=True):
    reason: str


Ask = (
    AskStatus
    | AskPause
    | AskResume
    | AskReload
    | AskSettings
    | AskChange
    | AskModels
    | AskPrune
    | AskStatistics
    | AskTest
)
Answer = WorkerStatus | Settings | CachedModels | Statistics | TestShown | Done | Refused


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
